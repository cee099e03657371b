//! Weights as evidence: of each tensor the digest of its bytes, and what its numbers come to.
//!
//! A file's digest says that something changed; a table of tensors says what. The table is made in one pass over the bytes
//! of each tensor, in chunks of one size, so memory is bounded and the result the same on any number of threads. Tensors
//! whose numbers are not read (blocks of quantised weights, records, texts) have a digest only; tensors without a place in
//! the object (in other files, in compressed pieces) have neither, and the digest of their file stands for them.
//!
//! Answers weights edited in place: ROME-like edits, a scaled output row, a flipped sign (NISTAML.026, AML.T0018).
//! SHA-256 and threads are the caller's, who implements [`WeightReader`]. Comparing two tables is left to [`compare`].

use std::fmt;
use std::io;
use std::ops::Range;

use casemate_core::{Digest, Hasher, Source, SourceExt};

use crate::Tensor;

pub mod compare;
mod element;
mod planted;
mod rows;
mod statistics;

use element::Element;
pub use planted::self_test;
pub use rows::{RowOutlier, RowOutliers};
use statistics::Accumulator;
pub use statistics::Statistics;

/// Bytes read at once: they stay in the second cache between the digest and the sums.
const CHUNK_BYTES: usize = 128 << 10;

/// What the bytes of one tensor come to.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSummary {
    /// Name.
    pub name: String,
    /// Element type in the format's own word.
    pub dtype: String,
    /// Shape.
    pub shape: Vec<u64>,
    /// Bytes, where they lie in the object.
    pub bytes: Option<u64>,
    /// Digest of the bytes, where they were read by a reader that computes digests.
    pub sha256: Option<Digest>,
    /// What the numbers come to, where they are read.
    pub statistics: Option<Statistics>,
    /// Rows that do not fit the others.
    pub outliers: Option<RowOutliers>,
}

/// The tensors of one object of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightObject {
    /// Path inside the file, members joined by `!`; empty for the file itself.
    pub member: String,
    /// Digest of what is not tensors: header, graph, metadata.
    pub rest: Option<Digest>,
    /// Its tensors, in the order of the table.
    pub tensors: Vec<TensorSummary>,
}

/// Reads the tensors of an object. What reads bytes is here; threads and digests are the implementer's.
pub trait WeightReader: fmt::Debug + Sync {
    /// A summary of each tensor, in order.
    ///
    /// # Errors
    /// Whatever the medium reports.
    fn tensors(&self, source: &dyn Source, format: &str, tensors: &[Tensor]) -> io::Result<Vec<TensorSummary>>;

    /// A digest under way, where this reader computes digests.
    fn hasher(&self) -> Option<Box<dyn Hasher>>;
}

/// Reads tensors one after another and computes no digests: enough for what is judged by numbers alone.
#[derive(Clone, Copy, Debug)]
pub struct NumbersOnly;

impl WeightReader for NumbersOnly {
    fn tensors(&self, source: &dyn Source, format: &str, tensors: &[Tensor]) -> io::Result<Vec<TensorSummary>> {
        tensors.iter().map(|tensor| summarize(source, format, tensor, None)).collect()
    }

    fn hasher(&self) -> Option<Box<dyn Hasher>> {
        None
    }
}

/// The summary of one tensor, in one pass over its bytes; `format` tells what its element type means.
///
/// # Errors
/// Whatever the medium reports, and `UnexpectedEof` where the source ends before the tensor does.
pub fn summarize(
    source: &dyn Source,
    format: &str,
    tensor: &Tensor,
    mut hasher: Option<Box<dyn Hasher>>,
) -> io::Result<TensorSummary> {
    let mut summary = TensorSummary {
        name: tensor.name.clone(),
        dtype: tensor.dtype.clone(),
        shape: tensor.shape.clone(),
        bytes: tensor.span.as_ref().map(|span| span.end.saturating_sub(span.start)),
        sha256: None,
        statistics: None,
        outliers: None,
    };
    let Some(span) = tensor.span.clone() else { return Ok(summary) };
    // Where type and shape do not make the bytes, nobody knows which numbers they are.
    let element = Element::of(format, &tensor.dtype).filter(|element| {
        let bytes = tensor.shape.iter().try_fold(element.bytes() as u64, |n, dim| n.checked_mul(*dim));
        bytes == summary.bytes
    });
    let layout = element.and_then(|element| rows::layout(format, &tensor.shape, element.is_float()));
    let row_len = layout.map_or(u64::MAX, |rows| rows.len);
    let mut numbers = element.map(|element| Accumulator::new(element, row_len, layout.is_some()));
    each_chunk(source, span, |bytes| {
        if let Some(hasher) = &mut hasher {
            hasher.update(bytes);
        }
        if let Some(numbers) = &mut numbers {
            numbers.update(bytes);
        }
    })?;
    summary.sha256 = hasher.map(Hasher::finish);
    if let Some((statistics, norms)) = numbers.map(Accumulator::finish) {
        summary.statistics = Some(statistics);
        summary.outliers = layout.and_then(|_| rows::outliers(&norms));
    }
    Ok(summary)
}

/// The digest of the bytes of `source` that lie in none of `spans`, in order; gaps of different place are told apart.
///
/// # Errors
/// Whatever the medium reports.
pub fn rest(source: &dyn Source, tensors: &[Tensor], mut hasher: Box<dyn Hasher>) -> io::Result<Digest> {
    let mut spans = crate::Claims::default();
    let mut ranges: Vec<Range<u64>> = tensors.iter().filter_map(|tensor| tensor.span.clone()).collect();
    ranges.sort_by_key(|range| range.start);
    for range in ranges {
        spans.add(range);
    }
    for gap in spans.gaps(source.size_bytes()) {
        hasher.update(&gap.start.to_le_bytes());
        hasher.update(&gap.end.to_le_bytes());
        each_chunk(source, gap, |bytes| hasher.update(bytes))?;
    }
    Ok(hasher.finish())
}

fn each_chunk(source: &dyn Source, range: Range<u64>, mut work: impl FnMut(&[u8])) -> io::Result<()> {
    let len = range.end.saturating_sub(range.start);
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES)];
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let Some(bytes) = buffer.get_mut(..wanted) else { break };
        if source.fill_at(at, bytes)? < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        work(bytes);
        at += wanted as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
