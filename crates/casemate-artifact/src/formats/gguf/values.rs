//! Values: numbers passed over, texts kept, arrays walked without recursion.

use super::Reader;
use crate::formats::reading::{quote, text_kind};
use crate::{Malformed, Text, TextKind, Trouble};

const TYPE_U32: u32 = 4;
const TYPE_STRING: u32 = 8;
const TYPE_ARRAY: u32 = 9;
/// Metadata longer than this says nothing a detector looks for.
const METADATA_BYTES_MAX: u64 = 4096;

/// Bytes of a value of fixed size.
fn fixed(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

impl Reader<'_, '_> {
    /// Reads the type and the value of `key`.
    pub(super) fn value(&mut self, key: &str) -> Result<(), Malformed> {
        let (start, kind) = (self.at, self.u32()?);
        match kind {
            _ if key == "general.alignment" => self.alignment_value(start, kind),
            TYPE_STRING => self.text(key),
            TYPE_ARRAY => self.array(key),
            _ => self.number(kind, start),
        }
    }

    fn alignment_value(&mut self, start: u64, kind: u32) -> Result<(), Malformed> {
        if kind != TYPE_U32 {
            self.ambiguous(start, format!("`general.alignment` has the type {kind}, not a 32-bit count"));
            return match kind {
                TYPE_STRING => self.text("general.alignment"),
                TYPE_ARRAY => self.array("general.alignment"),
                _ => self.number(kind, start),
            };
        }
        let alignment = u64::from(self.u32()?);
        if alignment == 0 || alignment % 8 != 0 {
            self.ambiguous(start, format!("alignment is {alignment}, not a multiple of 8"));
        } else {
            self.alignment = alignment;
        }
        Ok(())
    }

    fn number(&mut self, kind: u32, start: u64) -> Result<(), Malformed> {
        let unknown = || Malformed::new(Trouble::Undecodable, start, format!("value type {kind} is unknown"));
        self.skip(fixed(kind).ok_or_else(unknown)?)
    }

    /// A text: templates whole, others if short or if they look like one.
    fn text(&mut self, key: &str) -> Result<(), Malformed> {
        let start = self.at;
        let template = key == "tokenizer.chat_template" || key.starts_with("tokenizer.chat_template.");
        let len = self.count()?;
        if !template && len > METADATA_BYTES_MAX {
            return self.skip(len);
        }
        self.at = start;
        let text = self.string(self.limits.header_bytes_max, "text")?;
        if !self.allowance.take(text.len().saturating_add(key.len())) {
            return Err(Malformed::new(Trouble::Limit, start, format!("texts from {} on are not read", quote(key))));
        }
        let kind = if template { TextKind::Template } else { text_kind(&text) };
        self.parsed.texts.push(Text { kind, key: key.into(), text, offset: Some(start) });
        Ok(())
    }

    /// An array of anything, arrays included.
    fn array(&mut self, key: &str) -> Result<(), Malformed> {
        // Vocabularies, scores, merges: long, and data.
        let tokens = key.starts_with("tokenizer.ggml.");
        let mut open: Vec<(u32, u64)> = vec![self.array_header()?];
        while let Some((kind, left)) = open.last_mut() {
            if *left == 0 {
                open.pop();
                continue;
            }
            match *kind {
                TYPE_STRING => {
                    *left -= 1;
                    match tokens {
                        true => self.count().and_then(|len| self.skip(len))?,
                        false => self.text(key)?,
                    }
                }
                TYPE_ARRAY => {
                    *left -= 1;
                    if open.len() as u64 >= u64::from(self.limits.nesting_max) {
                        let what = format!("arrays of {} nest more than {} deep", quote(key), open.len());
                        return Err(Malformed::new(Trouble::Limit, self.at, what));
                    }
                    let header = self.array_header()?;
                    open.push(header);
                }
                _ => drop(open.pop()),
            }
        }
        Ok(())
    }

    /// Element type and count; elements of fixed size are passed over at once.
    fn array_header(&mut self) -> Result<(u32, u64), Malformed> {
        let start = self.at;
        let (kind, count) = (self.u32()?, self.count()?);
        // An empty string takes its length, an empty array its header.
        let string = if self.narrow { 4 } else { 8 };
        let each = match kind {
            TYPE_STRING => string,
            TYPE_ARRAY => string + 4,
            _ => fixed(kind).unwrap_or(1),
        };
        match count.checked_mul(each).filter(|bytes| *bytes <= self.left()) {
            Some(bytes) if fixed(kind).is_some() => self.skip(bytes)?,
            Some(_) if matches!(kind, TYPE_STRING | TYPE_ARRAY) => {}
            Some(_) => {
                return Err(Malformed::new(Trouble::Undecodable, start, format!("value type {kind} is unknown")));
            }
            None => {
                let what = format!("an array claims {count} elements, more than the file can hold");
                return Err(Malformed::new(Trouble::Ambiguous, start, what));
            }
        }
        Ok((kind, count))
    }
}
