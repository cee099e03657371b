//! PyTorch files as `torch.save` wrote them before 1.6: five pickles in a row, then the storages.
//!
//! Magic number, protocol version, system information, the object, the storage keys; then for each key an int64 count and
//! the numbers. Source: `torch/serialization.py`, `_legacy_save`. torch unpickles all five, so all five are judged; bytes
//! after the last storage stay unclaimed.

use casemate_core::SourceExt;

use super::pickle::take;
use super::{Format, FormatMeta, Object, Sniff};
use crate::pickle::{Action, End, Reading, run};
use crate::{Malformed, Parsed, Probe, Trouble};

/// See the module.
pub struct TorchLegacy;

/// `pickle.dumps(0x1950a86a20f9469cfc6c, protocol=2)`.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// Position of the storage keys among the pickles.
const KEYS: usize = 4;

impl Format for TorchLegacy {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "torch-legacy",
            title: "PyTorch legacy file",
            extensions: &["pt", "pth", "bin", "ckpt", "model"],
            runs_code: true,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        if probe.starts_with(MAGIC) { Sniff::Certain } else { Sniff::No }
    }

    fn reads_pickles(&self) -> bool {
        true
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let keys_max = usize::try_from(object.limits.entries_max).unwrap_or(usize::MAX);
        let mut at = 0;
        let mut keys = Vec::new();
        for n in 0..=KEYS {
            let texts_max = if n == KEYS { keys_max } else { 0 };
            let mut stream = run(object.source.as_ref(), at, Reading::Plain, object.limits, texts_max);
            let start = at;
            at = stream.end_offset;
            let broken = stream.end == End::Broken;
            if n == KEYS {
                keys = std::mem::take(&mut stream.texts);
            }
            take(object, start, stream, &mut parsed);
            if broken {
                let what = format!("pickle {} of 5 does not end, so its storages cannot be found", n + 1);
                parsed.malformed.push(Malformed::new(Trouble::Undecodable, at, what));
                return parsed;
            }
        }
        claim_storages(object, at, &keys, &mut parsed);
        parsed
    }
}

/// Claims an int64 count and the numbers for each key, in the order of the fifth pickle.
fn claim_storages(object: &Object<'_>, mut at: u64, keys: &[String], parsed: &mut Parsed) {
    for key in keys {
        let width = parsed.events.iter().find_map(|event| match &event.action {
            Action::PersistentId { storage: Some((of, storage_key, _)), .. } if storage_key == key => {
                storage_width(&of.name)
            }
            _ => None,
        });
        let Some(width) = width else {
            let what = format!("storage {} is of an unknown type", crate::detectors::quote(key));
            parsed.malformed.push(Malformed::new(Trouble::Undecodable, at, what));
            return;
        };
        let count = object.source.bytes_at(at, 8).ok().and_then(|bytes| bytes.try_into().ok()).map(i64::from_le_bytes);
        let end = count
            .and_then(|count| u64::try_from(count).ok())
            .and_then(|count| count.checked_mul(width)?.checked_add(at)?.checked_add(8))
            .filter(|end| *end <= object.source.size_bytes());
        let Some(end) = end else {
            let what = format!("storage {} runs past the end of the file", crate::detectors::quote(key));
            parsed.malformed.push(Malformed::new(Trouble::Ambiguous, at, what));
            return;
        };
        parsed.claims.add(at..end);
        at = end;
    }
}

/// Bytes of one element of a storage type, by its name in `torch` or `torch.cuda`.
pub(super) fn storage_width(name: &str) -> Option<u64> {
    Some(match name {
        "ByteStorage" | "CharStorage" | "BoolStorage" | "QInt8Storage" | "QUInt8Storage" | "UntypedStorage" => 1,
        "QUInt4x2Storage" | "QUInt2x4Storage" => 1,
        "ShortStorage" | "HalfStorage" | "BFloat16Storage" => 2,
        "IntStorage" | "FloatStorage" | "QInt32Storage" => 4,
        "LongStorage" | "DoubleStorage" | "ComplexFloatStorage" => 8,
        "ComplexDoubleStorage" => 16,
        _ => return None,
    })
}
