//! Python pickles of protocols 0 to 5, one stream or several.
//!
//! A loader that unpickles again and again reads stream after stream, so every stream to the end of the file is judged,
//! also behind zeros. Protocols 0 and 1 have no magic: such bytes count as a pickle when they run to a STOP or make a call.
//! What a stream does is found by [`crate::pickle`]; constants that are objects themselves become children.

use std::sync::Arc;

use casemate_core::{MemorySource, RangeSource, SourceExt};

use super::{Format, FormatMeta, Object, Sniff};
use crate::pickle::{Action, EVENTS_BYTES_MAX, Embedded, End, Event, Global, Operand, Reading, Stream, run};
use crate::{Child, Malformed, Parsed, Probe, Role, Trouble};

mod joblib;

/// See the module.
pub struct Pickle;

/// Longest base64 text that is decoded and looked into.
const BASE64_BYTES_MAX: u64 = 1 << 20;

impl Format for Pickle {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "pickle",
            title: "Python pickle",
            extensions: &["pkl", "pickle", "p", "dat", "data", "bin", "pt", "pth", "ckpt", "joblib", "model", "sav"],
            runs_code: true,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        let size = probe.size_bytes;
        match probe.head.as_slice() {
            // PROTO, then something every stream could go on with. Higher protocols are judged as malformed.
            [0x80, 0..=15, next, ..] if is_opcode(*next) => Sniff::Certain,
            [first, ..] if size > 1 && is_opcode(*first) => Sniff::Likely,
            _ => Sniff::No,
        }
    }

    /// Numbers may begin like a pickle by chance: among raw data it has to be right at the end as well.
    fn is_believable(&self, object: &Object<'_>) -> bool {
        object.role != Role::RawData || object.probe.tail.ends_with(b".")
    }

    fn reads_pickles(&self) -> bool {
        true
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let certain = self.sniff(object.probe) == Sniff::Certain;
        let mut at = 0;
        let mut events_bytes = 0u64;
        for n in 0.. {
            let Some(start) = next_start(object, at, &mut parsed) else { break };
            if n >= object.limits.pickle_streams_max {
                let what = format!("more than {} pickle streams", object.limits.pickle_streams_max);
                parsed.malformed.push(Malformed::new(Trouble::Limit, start, what));
                break;
            }
            let mut stream = run(object.source.as_ref(), start, Reading::Plain, object.limits, 0);
            if stream.has_arrays {
                stream = joblib::reading(object, start, stream, &mut parsed);
            }
            events_bytes = events_bytes.saturating_add(stream.events_bytes);
            if n > 0 && events_bytes > EVENTS_BYTES_MAX {
                let what = format!("names in the pickle streams take more than {EVENTS_BYTES_MAX} bytes");
                parsed.malformed.push(Malformed::new(Trouble::Limit, start, what));
                break;
            }
            let believed = certain && n == 0;
            if !believed && !is_convincing(&stream) {
                break;
            }
            at = stream.end_offset;
            let broken = stream.end == End::Broken;
            take(object, start, stream, &mut parsed);
            if broken {
                break;
            }
        }
        parsed
    }
}

/// Adds what a pickle loader would do with an object that another format recognised, if it would import or call anything.
///
/// A safetensors header of 86 bytes begins with `V`, the opcode of a text up to the next newline, and what follows that
/// newline in the tensors runs. Loaders of pickles choose by name or not at all.
pub(crate) fn second_reading(object: &Object<'_>, parsed: &mut Parsed) {
    let loaded = matches!(object.role, Role::Any | Role::TorchPickle | Role::Unclaimed);
    // `P`, as in `PK`, asks for an outside object, which ordinary loaders refuse, and the line after it ends anywhere.
    if !loaded || !object.probe.head.first().is_some_and(|first| is_opcode(*first) && *first != b'P') {
        return;
    }
    let stream = run(object.source.as_ref(), 0, Reading::Plain, object.limits, 0);
    // An import runs code too, and what broke here may be whole to another reader.
    let imports = |event: &Event| matches!(&event.action, Action::Import(global) if is_plausible(global));
    if !calls_something(&stream) && !stream.events.iter().any(imports) {
        return;
    }
    let what = "the bytes are a pickle as well, and unpickling them imports or calls something";
    parsed.malformed.push(Malformed::new(Trouble::Ambiguous, 0, what));
    add_children(object, &stream.embedded, parsed);
    parsed.events.extend(stream.events);
}

/// Whether bytes without magic are a pickle after all: they run to a STOP and do something, or they call.
fn is_convincing(stream: &Stream) -> bool {
    match stream.end {
        End::Stop => stream.opcodes > 1 || !stream.events.is_empty(),
        End::Broken => calls_something(stream),
    }
}

/// Whether a stream calls what could be the name of something.
fn calls_something(stream: &Stream) -> bool {
    let plausible = |operand: &Operand| match operand {
        Operand::Global(global) | Operand::ResultOf(global) => !global.known || is_plausible(global),
        _ => true,
    };
    stream.events.iter().any(|event| matches!(&event.action, Action::Call { callee, .. } if plausible(callee)))
}

/// Whether this could be the name of something, and not what a line of numbers or text happens to hold.
fn is_plausible(global: &Global) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let is_name = |name: &str| !name.trim_end().is_empty() && name.trim_end().chars().all(word);
    global.known && is_name(&global.module) && is_name(&global.name)
}

/// The next non-zero byte at or after `at`.
fn next_start(object: &Object<'_>, mut at: u64, parsed: &mut Parsed) -> Option<u64> {
    loop {
        let bytes = match object.source.bytes_at(at, 64 << 10) {
            Ok(bytes) => bytes,
            Err(error) => {
                parsed.malformed.push(Malformed::new(Trouble::Unreadable, at, error.to_string()));
                return None;
            }
        };
        match bytes.iter().position(|byte| *byte != 0) {
            Some(i) => return Some(at + i as u64),
            None if bytes.is_empty() => return None,
            None => at += bytes.len() as u64,
        }
    }
}

/// Adds a stream to what was parsed, and the other readings of it where readers disagree.
pub(super) fn take(object: &Object<'_>, start: u64, stream: Stream, parsed: &mut Parsed) {
    if stream.frames_disagree {
        let other = run(object.source.as_ref(), start, Reading::FramesBuffered, object.limits, 0);
        other.events.into_iter().for_each(|event| add_event(parsed, event));
        add_children(object, &other.embedded, parsed);
    }
    parsed.claims.add(start..stream.end_offset);
    parsed.malformed.extend(stream.malformed);
    parsed.clues.extend(stream.clues);
    stream.events.into_iter().for_each(|event| add_event(parsed, event));
    add_children(object, &stream.embedded, parsed);
}

fn add_event(parsed: &mut Parsed, event: Event) {
    let few = parsed.events.len() < 1000;
    // Streams repeat each other seldom and briefly; a long list is left as it is.
    if !few || !parsed.events.iter().any(|known| known.action == event.action) {
        parsed.events.push(event);
    }
}

fn add_children(object: &Object<'_>, embedded: &[Embedded], parsed: &mut Parsed) {
    for item in embedded {
        let role = if item.called { Role::Any } else { Role::Inert };
        let name = format!("constant@{}", item.offset);
        if !item.base64 {
            let source = Arc::new(RangeSource::new(Arc::clone(object.source), item.offset, item.len));
            parsed.children.push(Child { name, source, role });
            continue;
        }
        let Ok(text) = object.source.bytes_at(item.offset, item.len.min(BASE64_BYTES_MAX)) else { continue };
        let bytes = base64(&text);
        if bytes.len() > 8 {
            let source = Arc::new(MemorySource::new(bytes));
            parsed.children.push(Child { name: format!("{name}!base64"), source, role });
        }
    }
}

/// Decodes base64 up to the first foreign character; line ends are skipped.
pub(crate) fn base64(text: &[u8]) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut bits = 0u32;
    let mut n = 0;
    for byte in text.iter().filter(|byte| !byte.is_ascii_whitespace()) {
        let Some(six) = value(*byte) else { break };
        bits = bits << 6 | u32::from(six);
        n += 6;
        if n >= 8 {
            n -= 8;
            out.push((bits >> n).to_le_bytes()[0]);
        }
    }
    out
}

fn is_opcode(byte: u8) -> bool {
    matches!(byte, 0x80..=0x98) || b"(.012NIFLJKMGSTUVXBCasdelutcgijhoPQRbpqr)}]".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_up_to_the_first_foreign_character() {
        assert_eq!(base64(b"gASV\nCgAA"), [0x80, 0x04, 0x95, 0x0a, 0, 0]);
        assert_eq!(base64(b"QUJD=rest"), b"ABC");
    }

    #[test]
    fn every_opcode_may_begin_a_stream() {
        let all = (0..=255u8).filter(|byte| is_opcode(*byte)).count();
        assert_eq!(all, 68);
    }
}
