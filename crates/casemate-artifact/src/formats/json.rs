//! JSON and JSON Lines: configurations, tokenizers, indexes.
//!
//! A chat template is a string in a tokenizer's configuration, under any key and in any file (CVE-2024-34359), so every
//! string with the marks of a template is handed on with its path. Duplicate keys are what one reader sees first and
//! another last. Settings that choose code to import (`auto_map` and its kin) are handed on as well, and the operators of
//! MXNet's graphs. The text is streamed: neither a long file nor a long string costs memory.
//!
//! Source: RFC 8259; `NaN` and `Infinity` are read as Python's `json` reads them.

use std::io::{self, BufReader, ErrorKind};

use casemate_core::{Limits, Source};

use super::reading::{Allowance, plain, unreadable};
use super::text::text_prefix;
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Trouble};

mod serialized;
mod settings;
mod stream;
mod symbol;
mod walk;

use stream::JsonStream;
use walk::Walk;

/// Reads JSON texts.
pub(crate) struct Json;

impl Format for Json {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "json", title: "JSON", extensions: &["json", "jsonl"], runs_code: false, is_model: false }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match opens(&probe.head) {
            true => Sniff::Likely,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let size = object.source.size_bytes();
        match walk(&**object.source, object.limits, &mut parsed, &mut Allowance::new()) {
            Ok(()) => drop(parsed.claims.add(0..size)),
            Err(error) => {
                let trouble = trouble(error);
                // JSON so far, and worth judging so far: lenient readers and deeper ones go on.
                let nothing = parsed.texts.is_empty() && parsed.settings.is_empty();
                let found = !(nothing && parsed.serialized.is_empty() && parsed.operators.is_empty());
                if trouble.trouble == Trouble::Limit || found {
                    let end = text_prefix(&**object.source).unwrap_or(size);
                    parsed.claims.add(0..end);
                }
                parsed.report(object.limits, trouble);
            }
        }
        parsed
    }
}

/// Walks all values of a JSON text and notes in `parsed` what is worth judging.
fn walk(
    source: &dyn Source,
    limits: &Limits,
    parsed: &mut Parsed,
    allowance: &mut Allowance,
) -> serde_json::Result<()> {
    let stream = JsonStream::new(source, limits.header_bytes_max);
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(stream));
    let mut walk = Walk::new(limits, parsed, allowance);
    let ended = loop {
        let value = walk.value(&mut deserializer);
        // JSON Lines: another value follows.
        if value.is_err() || deserializer.end().is_ok() {
            break value;
        }
    };
    walk.finish();
    ended
}

/// Reads a text that stands inside another format: at `offset` where it has to be JSON, at `None` where it only looks so.
pub(super) fn embedded(
    source: &dyn Source,
    offset: Option<u64>,
    limits: &Limits,
    parsed: &mut Parsed,
    allowance: &mut Allowance,
) {
    let Err(malformed) = walk(source, limits, parsed, allowance).map_err(trouble) else { return };
    if offset.is_some() || malformed.trouble == Trouble::Limit {
        parsed.report(limits, Malformed { offset, ..malformed });
    }
}

fn trouble(error: serde_json::Error) -> Malformed {
    let what = format!("not valid JSON: {}", plain(&error));
    match error.io_error_kind() {
        Some(ErrorKind::FileTooLarge) => Malformed::new(Trouble::Limit, None, what),
        Some(_) => unreadable(&io::Error::from(error), 0),
        // serde_json tells this one by its words alone.
        None if what.contains("recursion limit") => Malformed::new(Trouble::Limit, None, what),
        None => Malformed::new(Trouble::Undecodable, None, what),
    }
}

/// Whether the text begins as an object or an array does: a template (`{{`), a TOML table (`[name]`) or a Markdown link
/// does not.
fn opens(head: &[u8]) -> bool {
    let mut text = head.trim_ascii_start();
    loop {
        let Some((bracket, rest)) = text.split_first().filter(|(bracket, _)| matches!(bracket, b'{' | b'[')) else {
            // Nothing but opening brackets as far as one sees.
            return text.is_empty() && head.len() > 1;
        };
        text = rest.trim_ascii_start();
        let words: [&[u8]; 5] = [b"true", b"false", b"null", b"NaN", b"Infinity"];
        return match (bracket, text.first()) {
            (_, None) | (b'{', Some(b'"' | b'}')) => true,
            (b'[', Some(b'"' | b']' | b'-' | b'0'..=b'9')) => true,
            (b'[', Some(b'{' | b'[')) => continue,
            (b'[', _) => words.iter().any(|word| text.starts_with(word)),
            _ => false,
        };
    }
}

#[cfg(test)]
mod tests;
