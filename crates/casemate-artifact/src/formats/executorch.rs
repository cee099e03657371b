//! ExecuTorch programs (`.pte`): a FlatBuffer of plans, operators and delegates, and segments of numbers behind it.
//!
//! Operators outside the namespaces ExecuTorch brings along, and backends it does not know, are native code somebody has to
//! link. What a delegate was compiled to is opaque, like weights: it is no more looked into than they are, but anything in it
//! that is unmistakably something else (a shared library, an archive) is judged as that. Offsets that lead outside are memory
//! of the process that loads the program.
//!
//! Source: `schema/program.fbs` and `schema/extended_header.cpp` of ExecuTorch 1.0.

use std::sync::Arc;

use casemate_core::{RangeSource, SourceExt};

use super::flatbuffer::{Flatbuffer, Table};
use super::reading::{u32_le, u64_le, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Child, Malformed, Operator, Parsed, Probe, Role, Trouble};

/// Reads ExecuTorch programs.
pub(crate) struct Executorch;

/// Namespaces of the kernels in ExecuTorch's own tree.
const NAMESPACES: &[&str] = &[
    "aten",
    "prim",
    "executorch_prim",
    "dim_order_ops",
    "quantized_decomposed",
    "llama",
    "et_vk",
    "cadence",
    "cortex_m",
];

/// Backends in ExecuTorch's own tree.
const BACKENDS: &[&str] = &[
    "XnnpackBackend",
    "CoreMLBackend",
    "MPSBackend",
    "VulkanBackend",
    "QnnBackend",
    "EthosUBackend",
    "ArmBackend",
    "VgfBackend",
    "TOSABackend",
    "NeuropilotBackend",
    "OpenvinoBackend",
    "EnnBackend",
    "NeutronBackend",
    "CudaBackend",
    "MetalBackend",
    "MLXBackend",
    "CoreAIBackend",
    "NativeBackend",
    "ExecutorBackend",
];

/// Distinct operators, and stretches of data, that are held.
const HELD_MAX: usize = 10_000;

impl Format for Executorch {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "executorch",
            title: "ExecuTorch program",
            extensions: &["pte"],
            runs_code: false,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match probe.has_at(4, b"ET") && probe.head.get(6..8).is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
        {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let buffer = Flatbuffer::new(&**object.source, object.limits.entries_max);
        let mut program = Program { buffer, parsed: &mut parsed, object, base: None };
        let outcome = program.walk();
        let end = program.buffer.reached.min(object.source.size_bytes());
        parsed.claims.add(0..end);
        if let Err(malformed) = outcome {
            parsed.report(object.limits, malformed);
        }
        parsed.operators.sort_unstable();
        parsed.operators.dedup();
        parsed
    }
}

/// A program while it is walked.
struct Program<'a, 'p> {
    buffer: Flatbuffer<'a>,
    parsed: &'p mut Parsed,
    object: &'a Object<'a>,
    /// Where segments count from.
    base: Option<u64>,
}

type Visit<'a, 'p> = fn(&mut Program<'a, 'p>, Table) -> Result<(), Malformed>;

impl<'a, 'p> Program<'a, 'p> {
    fn walk(&mut self) -> Result<(), Malformed> {
        let len = self.header()?;
        let root = self.buffer.root()?;
        self.each(root, 1, Self::plan)?;
        self.each(root, 2, |program, table| program.blob(table, "constant"))?;
        self.each(root, 3, |program, table| program.blob(table, "delegate"))?;
        self.each(root, 4, Self::segment)?;
        if let Some(table) = self.buffer.inner(root, 5)? {
            self.buffer.vector(table, 1, 8)?;
        }
        self.each(root, 6, |program, table| program.buffer.vector(table, 1, 8).map(drop))?;
        self.each(root, 7, |program, table| program.buffer.text(table, 0).map(drop))?;
        match len {
            Some(len) if self.buffer.reached > len => {
                let what = format!("tables reach past the program's {len} bytes");
                Err(Malformed::new(Trouble::Ambiguous, len, what))
            }
            _ => Ok(()),
        }
    }

    /// The extended header, where there is one: length of the program, and where its segments begin.
    fn header(&mut self) -> Result<Option<u64>, Malformed> {
        let bytes = self.object.source.bytes_at(8, 24).map_err(|error| unreadable(&error, 8))?;
        if !bytes.starts_with(b"eh00") {
            return Ok(None);
        }
        let header = u32_le(&bytes, 4).zip(u64_le(&bytes, 8)).zip(u64_le(&bytes, 16));
        let size = self.object.source.size_bytes();
        match header {
            Some(((24.., program), base)) if program <= size && base <= size => {
                self.base = (base > 0).then_some(base);
                Ok(Some(program))
            }
            _ => {
                Err(Malformed::new(Trouble::Ambiguous, 8, "the extended header speaks of bytes the file does not have"))
            }
        }
    }

    /// Calls `visit` on each table of the vector in field `slot`.
    fn each(&mut self, table: Table, slot: u64, visit: Visit<'a, 'p>) -> Result<(), Malformed> {
        let Some(vector) = self.buffer.vector(table, slot, 4)? else { return Ok(()) };
        for n in 0..vector.len {
            let element = self.buffer.element(vector, n)?;
            visit(self, element)?;
        }
        Ok(())
    }

    fn plan(&mut self, table: Table) -> Result<(), Malformed> {
        self.buffer.text(table, 0)?;
        if let Some(container) = self.buffer.inner(table, 1)? {
            self.buffer.text(container, 0)?;
            self.buffer.text(container, 1)?;
        }
        self.each(table, 2, Self::value)?;
        self.buffer.vector(table, 3, 4)?;
        self.buffer.vector(table, 4, 4)?;
        self.each(table, 5, Self::chain)?;
        self.each(table, 6, |program, table| {
            let name = program.buffer.text(table, 0)?.unwrap_or_default();
            program.buffer.text(table, 1)?;
            let (namespace, _) = name.split_once("::").unwrap_or(("custom", ""));
            let domain =
                if NAMESPACES.contains(&namespace) { String::new() } else { format!("executorch.{namespace}") };
            program.operator(domain, name, table.at)
        })?;
        self.each(table, 7, |program, table| {
            let id = program.buffer.text(table, 0)?.unwrap_or_default();
            program.buffer.inner(table, 1)?;
            program.each(table, 2, |program, table| {
                program.buffer.text(table, 0)?;
                program.buffer.vector(table, 1, 1).map(drop)
            })?;
            let domain = if BACKENDS.contains(&id.as_str()) { "" } else { "executorch.delegate" };
            program.operator(domain.into(), id, table.at)
        })?;
        self.buffer.vector(table, 8, 8).map(drop)
    }

    fn operator(&mut self, domain: String, name: String, at: u64) -> Result<(), Malformed> {
        let operator = Operator { domain, name: name.chars().take(256).collect() };
        if self.parsed.operators.last() == Some(&operator) {
            return Ok(());
        }
        if self.parsed.operators.len() >= HELD_MAX {
            return Err(Malformed::new(Trouble::Limit, at, format!("more than {HELD_MAX} operators")));
        }
        self.parsed.operators.push(operator);
        Ok(())
    }

    /// A value of a plan: a number, a list, a tensor.
    fn value(&mut self, table: Table) -> Result<(), Malformed> {
        const TENSOR: u8 = 5;
        const LISTS: [(u8, u64); 6] = [(6, 1), (7, 8), (8, 8), (9, 1), (10, 4), (11, 4)];
        let kind = self.buffer.byte(table, 0)?;
        let Some(value) = self.buffer.inner(table, 1)? else { return Ok(()) };
        if let Some((_, width)) = LISTS.iter().find(|(list, _)| *list == kind) {
            self.buffer.vector(value, 0, *width)?;
        } else if kind == TENSOR {
            self.buffer.vector(value, 2, 4)?;
            self.buffer.vector(value, 3, 1)?;
            self.buffer.inner(value, 6)?;
            if let Some(extra) = self.buffer.inner(value, 9)? {
                self.buffer.text(extra, 1)?;
            }
        }
        Ok(())
    }

    fn chain(&mut self, table: Table) -> Result<(), Malformed> {
        self.buffer.vector(table, 0, 4)?;
        self.buffer.vector(table, 1, 4)?;
        self.each(table, 2, |program, table| {
            // Calls of kernels and of delegates have arguments.
            let kind = program.buffer.byte(table, 0)?;
            let call = program.buffer.inner(table, 1)?;
            match call.filter(|_| matches!(kind, 1 | 2)) {
                Some(call) => program.buffer.vector(call, 1, 4).map(drop),
                None => Ok(()),
            }
        })?;
        self.each(table, 3, |program, table| {
            program.each(table, 0, |program, table| {
                [0, 2, 3].into_iter().try_for_each(|slot| program.buffer.text(table, slot).map(drop))
            })
        })
    }

    /// Data inside the FlatBuffer.
    fn blob(&mut self, table: Table, what: &str) -> Result<(), Malformed> {
        match self.buffer.vector(table, 0, 1)? {
            Some(vector) => self.data(what, vector.at, vector.len),
            None => Ok(()),
        }
    }

    /// Data behind the FlatBuffer.
    fn segment(&mut self, table: Table) -> Result<(), Malformed> {
        let (offset, len) = (self.buffer.long(table, 0)?, self.buffer.long(table, 1)?);
        let base = self.base.ok_or_else(|| {
            Malformed::new(Trouble::Ambiguous, table.at, "there are segments, and no header says where they begin")
        })?;
        let start = base.checked_add(offset);
        let end = start.and_then(|start| start.checked_add(len)).filter(|end| *end <= self.object.source.size_bytes());
        match start.zip(end) {
            Some((start, end)) => {
                self.parsed.claims.add(start..end);
                self.data("segment", start, len)
            }
            None => Err(Malformed::new(Trouble::Ambiguous, table.at, "a segment lies outside the file")),
        }
    }

    fn data(&mut self, what: &str, at: u64, len: u64) -> Result<(), Malformed> {
        if len == 0 {
            return Ok(());
        }
        self.object.budget.member(self.object.limits)?;
        if self.parsed.children.len() >= HELD_MAX {
            return Err(Malformed::new(Trouble::Limit, at, format!("data lies in more than {HELD_MAX} places")));
        }
        let source = Arc::new(RangeSource::new(Arc::clone(self.object.source), at, len));
        self.parsed.children.push(Child { name: format!("{what}@{at}"), source, role: Role::RawData });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
