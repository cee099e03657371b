//! `torch.save` before 0.1.10 wrote a tar: pickles that alternate with numbers in two of its members.
//!
//! `storages` is a count, then for each storage a pickle of key, place and type, an int64 count and the numbers, then a pickle
//! of views; `tensors` is a count, then for each tensor a pickle, its dimensions, sizes, strides and offset. torch unpickles
//! all of them, so each becomes an object of its own, and the numbers between them raw data.
//!
//! Source: `torch/serialization.py`, `legacy_load`.

use std::ops::Range;
use std::sync::Arc;

use casemate_core::{RangeSource, SharedSource, SourceExt};

use crate::formats::Object;
use crate::formats::reading::{u32_le, u64_le, unreadable};
use crate::formats::torch_legacy::storage_width;
use crate::pickle::{Action, End, Reading, Stream, run};
use crate::{Child, Malformed, Role, Trouble};

/// Dimensions of a tensor; torch has no more.
const DIMENSIONS_MAX: u32 = 64;

/// Pickles and stretches of numbers of one member; the largest models of that time had some thousand.
const PARTS_MAX: usize = 20_000;

/// The objects in a member called `storages` or `tensors`, and where that breaks.
pub(super) fn split(object: &Object<'_>, child: Child) -> (Vec<Child>, Option<Malformed>) {
    let mut parts = Vec::new();
    let (mut at, size) = (0, child.source.size_bytes());
    let outcome = loop {
        if at >= size {
            break None;
        }
        let next = match parts.len() < PARTS_MAX {
            true => next(object, &child.source, at),
            false => Err(Malformed::new(Trouble::Limit, at, format!("more than {PARTS_MAX} parts"))),
        };
        match next {
            Ok((pickle, numbers)) => {
                at = numbers.end;
                parts.push(part(&child, pickle, Role::Any));
                parts.extend((!numbers.is_empty()).then(|| part(&child, numbers, Role::RawData)));
            }
            Err(malformed) => {
                let what = format!("{} cannot be followed at byte {at}: {}", child.name, malformed.what);
                parts.push(part(&child, at..size, Role::Any));
                break Some(Malformed { what, offset: None, ..malformed });
            }
        }
    };
    (parts, outcome)
}

/// The pickle at `at`, and the numbers behind it.
fn next(object: &Object<'_>, source: &SharedSource, at: u64) -> Result<(Range<u64>, Range<u64>), Malformed> {
    object.budget.member(object.limits)?;
    let stream = run(source.as_ref(), at, Reading::Plain, object.limits, 0);
    let end = stream.end_offset;
    if stream.end == End::Broken || end <= at {
        return Err(Malformed::new(Trouble::Undecodable, at, "a pickle does not end"));
    }
    let head = source.bytes_at(end, 8).map_err(|error| unreadable(&error, end))?;
    let len = match kind(&stream) {
        Kind::Storage(width) => u64_le(&head, 0).and_then(|n| n.checked_mul(width)?.checked_add(8)),
        // Four bytes behind the number of dimensions are left out; sizes, strides and the offset have eight each.
        Kind::Tensor => u32_le(&head, 0).filter(|n| *n <= DIMENSIONS_MAX).map(|n| 16 * u64::from(n) + 16),
        Kind::Other => Some(0),
    };
    let past = len.and_then(|len| end.checked_add(len)).filter(|past| *past <= source.size_bytes());
    match past {
        Some(past) => Ok((at..end, end..past)),
        None => Err(Malformed::new(Trouble::Ambiguous, end, "numbers run past the end of the member")),
    }
}

enum Kind {
    /// Elements of so many bytes follow.
    Storage(u64),
    /// A shape follows.
    Tensor,
    /// Another pickle follows.
    Other,
}

/// What stands behind a pickle, by the type it names.
fn kind(stream: &Stream) -> Kind {
    let types = stream.events.iter().filter_map(|event| match &event.action {
        Action::Import(global) if global.module.starts_with("torch") => Some(global.name.as_ref()),
        _ => None,
    });
    let mut kinds = types.filter_map(|name: &str| match storage_width(name) {
        Some(width) => Some(Kind::Storage(width)),
        None => name.ends_with("Tensor").then_some(Kind::Tensor),
    });
    kinds.next().unwrap_or(Kind::Other)
}

fn part(member: &Child, range: Range<u64>, role: Role) -> Child {
    let source = RangeSource::new(Arc::clone(&member.source), range.start, range.end - range.start);
    Child { name: format!("{}@{}", member.name, range.start), source: Arc::new(source), role }
}
