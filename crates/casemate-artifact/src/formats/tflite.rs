//! TensorFlow Lite: a FlatBuffer of operators, subgraphs and buffers, often with a zip of labels behind it.
//!
//! Answers custom operators, which are native code from elsewhere, and `Flex` operators, which are TensorFlow's own and read
//! files or call Python as those do (FlexReadFile, FlexPyFunc); both are listed. Offsets that lead outside the file are
//! memory of the process that loads it (CVE-2020-15211 and its kin), and so is a tensor larger than its buffer. Which builtin operators run is of no consequence.
//!
//! Source: `tensorflow/compiler/mlir/lite/schema/schema.fbs`; TensorFlow Lite Metadata for the zip.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use casemate_core::{SharedSource, Source, SourceExt};

use super::flatbuffer::{Flatbuffer, Table};
use super::reading::quote;
use super::{Format, FormatMeta, Object, Sniff, tensorflow};
use crate::{Child, Malformed, Operator, Parsed, Probe, Role, Tensor, Trouble};

/// Reads TensorFlow Lite models.
pub(crate) struct Tflite;

/// `BuiltinOperator_CUSTOM`.
const CUSTOM: u32 = 32;

/// Custom operators that TensorFlow Lite, its task library and the Edge TPU runtime bring along.
const WELL_KNOWN: &[&str] = &[
    "TFLite_Detection_PostProcess",
    "AudioSpectrogram",
    "Mfcc",
    "NumericVerify",
    "Convolution2DTransposeBias",
    "MaxPoolingWithArgmax2D",
    "MaxUnpooling2D",
    "TransformTensorBilinear",
    "TransformLandmarks",
    "Landmarks2TransformMatrix",
    "edgetpu-custom-op",
];

impl Format for Tflite {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "tflite",
            title: "TensorFlow Lite",
            extensions: &["tflite", "lite"],
            runs_code: false,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match probe.has_at(4, b"TFL3") {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let visits_max = object.limits.entries_max;
        let buffer = Flatbuffer::new(&**object.source, visits_max);
        let mut model = Model { buffer, parsed: &mut parsed, object, data: Vec::new() };
        let outcome = model.walk();
        let end = model.buffer.reached.min(object.source.size_bytes());
        parsed.claims.add(0..end);
        if let Err(malformed) = outcome {
            parsed.report(object.limits, malformed);
        }
        parsed.operators.sort_unstable();
        parsed.operators.dedup();
        archive(object, &mut parsed, end);
        parsed
    }
}

/// Hands on what stands behind the model as the zip that TensorFlow Lite Metadata puts there.
fn archive(object: &Object<'_>, parsed: &mut Parsed, end: u64) {
    let size = object.source.size_bytes();
    // Members are padded to boundaries, so the first may begin some bytes later.
    // A medium that fails leaves the bytes unclaimed.
    let behind = object.source.bytes_at(end, 64).unwrap_or_default();
    let Some(at) = behind.windows(4).position(|bytes| bytes == b"PK\x03\x04") else { return };
    if behind.iter().take(at).any(|byte| *byte != 0) {
        return;
    }
    let start = end + at as u64;
    parsed.claims.add(end..size);
    let source: SharedSource = Arc::new(Masked { inner: Arc::clone(object.source), start });
    parsed.children.push(Child { name: "metadata.zip".into(), source, role: Role::Any });
}

/// A file whose beginning reads as zeros: offsets in the archive count from the beginning of the file.
struct Masked {
    inner: SharedSource,
    start: u64,
}

impl Source for Masked {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read_at(offset, buffer)?;
        let masked = usize::try_from(self.start.saturating_sub(offset)).unwrap_or(usize::MAX);
        buffer.iter_mut().take(masked.min(n)).for_each(|byte| *byte = 0);
        Ok(n)
    }
}

struct Model<'a, 'p> {
    buffer: Flatbuffer<'a>,
    parsed: &'p mut Parsed,
    object: &'a Object<'a>,
    /// Where the bytes of each buffer lie; most tensors of a graph have none until it runs.
    data: Vec<Option<Range<u64>>>,
}

impl Model<'_, '_> {
    fn walk(&mut self) -> Result<(), Malformed> {
        let root = self.buffer.root()?;
        self.buffer.text(root, 3)?;
        self.each(root, 1, Self::operator_code)?;
        self.each(root, 4, Self::data)?;
        self.each(root, 2, Self::subgraph)?;
        self.buffer.vector(root, 5, 4)?;
        self.each(root, 6, |model, table| model.buffer.text(table, 0).map(drop))?;
        self.each(root, 7, |model, table| {
            model.buffer.text(table, 2)?;
            model.each(table, 0, |model, table| model.buffer.text(table, 0).map(drop))?;
            model.each(table, 1, |model, table| model.buffer.text(table, 0).map(drop))
        })
    }

    /// Calls `visit` on each table of the vector in field `slot`.
    fn each(
        &mut self,
        table: Table,
        slot: u64,
        visit: fn(&mut Self, Table) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let Some(vector) = self.buffer.vector(table, slot, 4)? else { return Ok(()) };
        for n in 0..vector.len {
            let element = self.buffer.element(vector, n)?;
            visit(self, element)?;
        }
        Ok(())
    }

    fn operator_code(&mut self, table: Table) -> Result<(), Malformed> {
        let builtin = u32::from(self.buffer.byte(table, 0)?).max(self.buffer.number(table, 3)?);
        let custom = self.buffer.text(table, 1)?.unwrap_or_default();
        if builtin != CUSTOM {
            return Ok(());
        }
        let (domain, name) = match custom.strip_prefix("Flex") {
            Some(name) if !name.is_empty() => (tensorflow::DOMAIN, name),
            _ if WELL_KNOWN.contains(&custom.as_str()) => ("", custom.as_str()),
            _ => ("tflite.custom", custom.as_str()),
        };
        let operator = Operator { domain: domain.into(), name: name.into() };
        if (self.parsed.operators.len() as u64) < 10_000 {
            self.parsed.operators.push(operator);
            return Ok(());
        }
        Err(Malformed::new(Trouble::Limit, table.at, "more than 10000 custom operators"))
    }

    fn data(&mut self, table: Table) -> Result<(), Malformed> {
        let inside = self.buffer.vector(table, 0, 1)?.filter(|bytes| bytes.len > 0);
        // Models over 2 GiB keep their data behind the FlatBuffer.
        let (offset, size) = (self.buffer.long(table, 1)?, self.buffer.long(table, 2)?);
        self.beyond(table, offset, size)?;
        let beyond = (offset > 1 && size > 0).then(|| offset..offset.saturating_add(size));
        self.data.push(inside.map(|bytes| bytes.at..bytes.at + bytes.len).or(beyond));
        Ok(())
    }

    /// Claims data that a table places by an offset from the beginning of the file; 0 and 1 mean none.
    fn beyond(&mut self, table: Table, offset: u64, size: u64) -> Result<(), Malformed> {
        if offset <= 1 || size == 0 {
            return Ok(());
        }
        match offset.checked_add(size).filter(|end| *end <= self.object.source.size_bytes()) {
            // Claims out of order cost the square of their number.
            Some(_) if self.parsed.claims.ranges().len() > 20_000 => {
                return Err(Malformed::new(Trouble::Limit, table.at, "data lies in more than 20000 places"));
            }
            Some(end) => drop(self.parsed.claims.add(offset..end)),
            None => return Err(Malformed::new(Trouble::Ambiguous, table.at, "data lies outside the file")),
        }
        Ok(())
    }

    fn subgraph(&mut self, table: Table) -> Result<(), Malformed> {
        self.buffer.text(table, 4)?;
        self.buffer.vector(table, 1, 4)?;
        self.buffer.vector(table, 2, 4)?;
        self.each(table, 0, Self::tensor)?;
        self.each(table, 3, |model, table| {
            for (slot, width) in [(1, 4), (2, 4), (5, 1), (7, 1), (8, 4)] {
                model.buffer.vector(table, slot, width)?;
            }
            model.buffer.inner(table, 4)?;
            model.buffer.inner(table, 12)?;
            let (offset, size) = (model.buffer.long(table, 9)?, model.buffer.long(table, 10)?);
            model.beyond(table, offset, size)
        })
    }

    fn tensor(&mut self, table: Table) -> Result<(), Malformed> {
        const DIMS_MAX: u64 = 64;
        let shape = match self.buffer.vector(table, 0, 4)? {
            Some(dims) if dims.len > DIMS_MAX => {
                return Err(Malformed::new(Trouble::Limit, dims.at, format!("a tensor of {} dimensions", dims.len)));
            }
            Some(dims) => self.buffer.numbers(dims)?,
            None => Vec::new(),
        };
        self.buffer.vector(table, 7, 4)?;
        let name = self.buffer.text(table, 3)?.unwrap_or_default();
        if let Some(quantization) = self.buffer.inner(table, 4)? {
            for (slot, width) in [(0, 4), (1, 4), (2, 4), (3, 8)] {
                self.buffer.vector(quantization, slot, width)?;
            }
        }
        let is_sparse = self.buffer.inner(table, 6)?.is_some();
        let (kind, buffer) = (self.buffer.byte(table, 1)?, self.buffer.number(table, 2)?);
        let data = usize::try_from(buffer).ok().and_then(|n| self.data.get(n)).cloned();
        let Some(span) = data.or_else(|| (buffer == 0).then_some(None)) else {
            return Err(Malformed::new(
                Trouble::Ambiguous,
                table.at,
                format!("a tensor in buffer {buffer}, which is none"),
            ));
        };
        let (word, bits) = element(kind);
        if let (Some(span), Some(bits), false) = (&span, bits, is_sparse) {
            let needed = shape.iter().try_fold(bits, |bits, dim| bits.checked_mul(*dim)).map(|bits| bits.div_ceil(8));
            if needed != Some(span.end - span.start) {
                let (name, held) = (quote(&name), span.end - span.start);
                let what = format!("tensor {name} has {held} bytes, its type and shape make another number");
                self.parsed.report(self.object.limits, Malformed::new(Trouble::Ambiguous, span.start, what));
            }
        }
        if self.parsed.tensors.len() < 50_000 {
            let (name, dtype) = (name.chars().take(256).collect(), word.into());
            self.parsed.tensors.push(Tensor { name, dtype, shape, span });
        }
        Ok(())
    }
}

/// Name and bits of an element of a `TensorType`; those of texts and handles differ from element to element.
fn element(kind: u8) -> (&'static str, Option<u64>) {
    match kind {
        0 => ("FLOAT32", Some(32)),
        1 => ("FLOAT16", Some(16)),
        2 => ("INT32", Some(32)),
        3 => ("UINT8", Some(8)),
        4 => ("INT64", Some(64)),
        5 => ("STRING", None),
        6 => ("BOOL", Some(8)),
        7 => ("INT16", Some(16)),
        8 => ("COMPLEX64", Some(64)),
        9 => ("INT8", Some(8)),
        10 => ("FLOAT64", Some(64)),
        11 => ("COMPLEX128", Some(128)),
        12 => ("UINT64", Some(64)),
        13 => ("RESOURCE", None),
        14 => ("VARIANT", None),
        15 => ("UINT32", Some(32)),
        16 => ("UINT16", Some(16)),
        17 => ("INT4", Some(4)),
        18 => ("BFLOAT16", Some(16)),
        _ => ("unknown", None),
    }
}

#[cfg(test)]
mod tests;
