//! Torch7's `.t7`: Lua objects, binary and as text.
//!
//! A function in the data is compiled Lua or Lua source that the reader turns into a function at once; as the method of an
//! object it runs when the model is used. Crafted bytecode breaks the virtual machine itself. Tables and objects are
//! walked on a list, tensors have to fit their storage.
//!
//! Source: `File.lua`, `Tensor.lua` and `lib/TH/generic/THStorage*` of torch7, 2017.

use casemate_core::MemorySource;

use super::{Format, FormatMeta, Object, Sniff};
use crate::{Parsed, Probe};

mod reader;
mod walk;

use reader::Reader;
pub(crate) use walk::FUNCTION;
use walk::{Kind, Walk};

/// Reads Lua objects.
pub(crate) struct Torch7;

impl Format for Torch7 {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "torch7", title: "Torch7 object file", extensions: &["t7"], runs_code: true, is_model: true }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        let head = MemorySource::new(probe.head.as_slice());
        let mut reader = Reader::new(&head, is_text(probe));
        let Some(kind) = reader.int().ok().and_then(Kind::of) else { return Sniff::No };
        let certain = match kind {
            Kind::Object => reader.int().is_ok() && reader.text(8).is_ok_and(|text| text.starts_with(b"V ")),
            Kind::Function | Kind::NumberedFunction | Kind::LegacyFunction => {
                let numbered = kind == Kind::Function || reader.int().is_ok();
                numbered && reader.int().is_ok() && reader.begins(b"\x1bL")
            }
            _ => false,
        };
        match kind {
            _ if certain => Sniff::Certain,
            Kind::Object | Kind::Table | Kind::Function | Kind::NumberedFunction | Kind::LegacyFunction => {
                Sniff::Likely
            }
            _ => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut walk = Walk::new(Reader::new(&**object.source, is_text(object.probe)), object);
        let ended = walk.run();
        let at = walk.at();
        let whole = ended.is_ok() && at == object.source.size_bytes();
        let mut parsed = walk.into_parsed();
        // A table has no magic number: less than a class, or a whole file and more than lines of numbers, could be chance.
        let table = whole && (!is_text(object.probe) || !parsed.tensors.is_empty());
        if !table && self.sniff(object.probe) != Sniff::Certain && parsed.operators.is_empty() {
            return Parsed::default();
        }
        parsed.claims.add(0..at);
        ended.unwrap_or_else(|malformed| parsed.report(object.limits, malformed));
        parsed
    }
}

/// Whether the kind of the first object is written as a digit.
fn is_text(probe: &Probe) -> bool {
    matches!(probe.head.get(..2), Some([b'0'..=b'8', b'\n']))
}

#[cfg(test)]
mod tests;
