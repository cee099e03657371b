//! ggml before GGUF: hyper-parameters, a vocabulary and tensors one behind the other, for the first llama.cpp and whisper.cpp.
//!
//! Nothing in such a file says whose it is: programs know the order of the numbers by the model they were built for. So
//! each order we know is tried, and the one that reads to the end of the file is taken; what fits none cannot be told.
//! Answers lengths and dimensions that overflow a reader's arithmetic (CVE-2024-21802 and its kin live on from here) and
//! bytes behind the last tensor, which stay unclaimed. The words of the vocabulary are searched for templates and
//! credentials as they are passed.
//!
//! Source: `llama.cpp` up to commit 468ea24 and `convert-pt-to-ggml.py`, `convert-silero-vad-to-ggml.py` of whisper.cpp;
//! the examples of ggml for the other orders.

use super::fields::Fields;
use super::gguf::types;
use super::reading::{Allowance, is_template, quote};
use super::{Format, FormatMeta, Object, Sniff};
use crate::clues::{self, Place};
use crate::{Malformed, Parsed, Probe, Tensor, Text, TextKind, Trouble};

/// Reads models in the formats that came before GGUF.
pub(crate) struct Ggml;

/// `ggml`, `ggmf`, `ggjt` and `ggla` as the little-endian numbers they are.
const MAGICS: &[(&[u8], Variant)] =
    &[(b"lmgg", Variant::Plain), (b"fmgg", Variant::Scored), (b"tjgg", Variant::Aligned), (b"algg", Variant::Adapter)];

/// Longest word of a vocabulary, and name of a tensor; real ones have some tens of bytes.
const WORD_BYTES_MAX: u32 = 4096;
const NAME_BYTES_MAX: u32 = 256;
const DIMS_MAX: u32 = 4;
/// What `ggjt` and `ggla` align their tensors to.
const ALIGNMENT: u64 = 32;

/// The four formats.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// `ggml`, without a version.
    Plain,
    /// `ggmf`: a version, and a score behind each word.
    Scored,
    /// `ggjt`: and tensors aligned, to be mapped.
    Aligned,
    /// `ggla`: the low-rank changes to another model.
    Adapter,
}

/// The order of what stands before the tensors.
struct Layout {
    /// Numbers of four bytes.
    numbers: usize,
    /// Which of them counts the vocabulary, unless the vocabulary brings its own count.
    vocabulary: Option<usize>,
    /// Which of them counts the rows of a filter bank that stands before the vocabulary.
    filters: Option<usize>,
    /// Whether each word has a score.
    scored: bool,
}

const fn layout(numbers: usize, vocabulary: Option<usize>) -> Layout {
    Layout { numbers, vocabulary, filters: None, scored: false }
}

/// The last number of every one is the type of most tensors.
static PLAIN: &[Layout] = &[
    // Whisper.
    Layout { filters: Some(9), ..layout(11, None) },
    // GPT-2 and StarCoder; GPT-J.
    layout(6, None),
    layout(7, None),
    // LLaMA and BERT; GPT-NeoX, Dolly, RedPajama; MPT; BLOOM; Replit.
    layout(7, Some(0)),
    layout(8, Some(0)),
    layout(8, Some(4)),
    layout(6, Some(0)),
    Layout { scored: true, ..layout(6, Some(4)) },
];

static SCORED: &[Layout] = &[Layout { scored: true, ..layout(7, Some(0)) }];

impl Format for Ggml {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "ggml",
            title: "ggml model before GGUF",
            extensions: &["ggml", "bin"],
            runs_code: false,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match variant(probe) {
            Some(_) if probe.size_bytes > 8 => Sniff::Certain,
            _ => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let Some(variant) = variant(object.probe) else { return Parsed::default() };
        let silero = (variant == Variant::Plain).then_some(Order::Silero);
        let layouts = match variant {
            Variant::Plain => PLAIN,
            Variant::Scored | Variant::Aligned => SCORED,
            Variant::Adapter => &[],
        };
        let adapter = (variant == Variant::Adapter).then_some(Order::Adapter);
        let orders = silero.into_iter().chain(adapter).chain(layouts.iter().map(Order::Of));
        // The order that accounts for most is the file's own.
        let mut best: Option<Attempt<'_>> = None;
        for order in orders {
            let mut attempt = Attempt::new(object, variant);
            let outcome = attempt.read(&order);
            attempt.finish(outcome);
            let is_whole = attempt.is_whole();
            if attempt.is_better_than(best.as_ref()) {
                best = Some(attempt);
            }
            if is_whole {
                break;
            }
        }
        best.map(|attempt| attempt.parsed).unwrap_or_else(|| unknown(object))
    }
}

fn variant(probe: &Probe) -> Option<Variant> {
    MAGICS.iter().find(|(magic, _)| probe.starts_with(magic)).map(|(_, variant)| *variant)
}

/// What is said of a file whose hyper-parameters are in no order that is known.
fn unknown(object: &Object<'_>) -> Parsed {
    let mut parsed = Parsed::default();
    parsed.claims.add(0..8.min(object.source.size_bytes()));
    let what =
        "hyper-parameters of no architecture that is known here; convert the model to GGUF with the tool that made it";
    parsed.report(object.limits, Malformed::new(Trouble::Undecodable, 4, what));
    parsed
}

/// What stands before the tensors.
enum Order {
    Of(&'static Layout),
    /// Voice activity detection of whisper.cpp: its own name, version and layers, no vocabulary.
    Silero,
    /// Rank and scale of an adapter.
    Adapter,
}

/// A file while it is read in one order.
struct Attempt<'a> {
    object: &'a Object<'a>,
    fields: Fields<'a>,
    variant: Variant,
    allowance: Allowance,
    parsed: Parsed,
    /// Whether quantised blocks have the scales of four bytes they had at first.
    wide_scales: bool,
}

impl<'a> Attempt<'a> {
    fn new(object: &'a Object<'a>, variant: Variant) -> Self {
        let (fields, allowance) = (Fields::new(&**object.source), Allowance::new());
        Self { object, fields, variant, allowance, parsed: Parsed::default(), wide_scales: true }
    }

    /// Reads to the end of the last tensor.
    fn read(&mut self, order: &Order) -> Result<(), Malformed> {
        self.fields.skip(4)?;
        if self.variant != Variant::Plain {
            let version = self.number()?;
            let known = if self.variant == Variant::Aligned { 1..=3 } else { 1..=1 };
            if !known.contains(&version) {
                return Err(self.fields.broken(format!("version {version} of the format is unknown")));
            }
            self.wide_scales = self.variant != Variant::Adapter && version < 3;
        }
        match order {
            Order::Of(layout) => self.head(layout)?,
            Order::Silero => self.silero()?,
            Order::Adapter => self.fields.skip(8)?,
        }
        while self.fields.left() > 0 && self.tensor()? {}
        Ok(())
    }

    fn finish(&mut self, outcome: Result<(), Malformed>) {
        self.parsed.claims.add(0..self.fields.at);
        if let Err(malformed) = outcome {
            self.parsed.report(self.object.limits, malformed);
        }
    }

    fn is_whole(&self) -> bool {
        self.parsed.malformed.is_empty() && self.fields.left() == 0 && !self.parsed.tensors.is_empty()
    }

    /// Without a tensor it is no reading of the file at all.
    fn is_better_than(&self, other: Option<&Self>) -> bool {
        let further = other.is_none_or(|other| self.fields.at > other.fields.at);
        !self.parsed.tensors.is_empty() && (further || self.is_whole())
    }

    /// Hyper-parameters and vocabulary.
    fn head(&mut self, layout: &Layout) -> Result<(), Malformed> {
        let mut numbers = Vec::new();
        for _ in 0..layout.numbers {
            numbers.push(self.number()?);
        }
        if self.variant == Variant::Plain {
            // Thousands count the changes of the quantised types.
            self.wide_scales = numbers.last().is_none_or(|kind| kind / 1000 < 2);
        }
        if let Some(rows) = layout.filters {
            let (given, columns) = (self.number()?, self.number()?);
            if numbers.get(rows) != Some(&given) {
                return Err(self.fields.broken("two counts of the filters disagree"));
            }
            self.fields.skip(u64::from(given).saturating_mul(columns.into()).saturating_mul(4))?;
        }
        let words = match layout.vocabulary {
            Some(n) => numbers.get(n).copied().unwrap_or_default(),
            None => self.number()?,
        };
        let least = if layout.scored { 8 } else { 4 };
        if u64::from(words) > (self.fields.left() / least).min(self.object.limits.entries_max) {
            return Err(self.fields.broken(format!("a vocabulary of {words} words")));
        }
        for _ in 0..words {
            self.word()?;
            self.fields.skip(if layout.scored { 4 } else { 0 })?;
        }
        Ok(())
    }

    /// Searches a word for what it may hide; most are too short to hide anything.
    fn word(&mut self) -> Result<(), Malformed> {
        const SHORT: u32 = 8;
        let (len, at) = (self.number()?, self.fields.at);
        if len > WORD_BYTES_MAX {
            return Err(self.fields.broken(format!("a word of {len} bytes")));
        }
        let bytes = self.fields.bytes(len.into())?;
        if len < SHORT {
            return Ok(());
        }
        let text = String::from_utf8_lossy(bytes).into_owned();
        let place = Place { key: "vocabulary", offset: Some(at), line: None };
        clues::note_secrets(&mut self.parsed.clues, &text, place);
        if is_template(&text) && self.allowance.take(text.len()) {
            let (kind, key) = (TextKind::Template, String::from("vocabulary"));
            self.parsed.texts.push(Text { kind, key, text, offset: Some(at) });
        }
        Ok(())
    }

    /// Name, version, window, layers, and the sizes of what follows them.
    fn silero(&mut self) -> Result<(), Malformed> {
        const LAYERS_MAX: u32 = 256;
        let len = self.number()?;
        let name = self.fields.bytes(u64::from(len).min(64))?;
        if !name.starts_with(b"silero-") {
            return Err(self.fields.broken("begins with no name of a voice detector"));
        }
        // Three numbers of the version, two of the window.
        self.fields.skip(5 * 4)?;
        let layers = self.number()?;
        if layers > LAYERS_MAX {
            return Err(self.fields.broken(format!("{layers} layers")));
        }
        // Channels in and out and kernel of each; the recurrent layer; the last convolution.
        self.fields.skip(u64::from(layers) * 12 + 16)
    }

    /// Reads one tensor; false where no tensor stands, which leaves the rest to be reported.
    fn tensor(&mut self) -> Result<bool, Malformed> {
        let start = self.fields.at;
        let Some((dims, kind, name)) = self.tensor_head()? else {
            self.fields.at = start;
            return Ok(false);
        };
        let shown = quote(&name);
        let Some((word, block, bytes)) = self.kind_of(kind) else {
            return Err(Malformed::new(
                Trouble::Undecodable,
                start,
                format!("tensor {shown} has the unknown type {kind}"),
            ));
        };
        if matches!(self.variant, Variant::Aligned | Variant::Adapter) {
            self.fields.at = self.fields.at.next_multiple_of(ALIGNMENT);
        }
        let (at, size) = (self.fields.at, self.object.source.size_bytes());
        let end = types::bytes_of(&dims, block, bytes).and_then(|len| at.checked_add(len));
        let Some(end) = end.filter(|end| *end <= size) else {
            self.fields.at = size;
            let what = format!("tensor {shown} goes past the file's {size} bytes, or its dimensions make no size");
            return Err(Malformed::new(Trouble::Ambiguous, start, what));
        };
        let tensors = self.parsed.tensors.len() as u64;
        if tensors >= self.object.limits.entries_max || !self.allowance.take(name.len() + 8 * dims.len()) {
            let what = format!("tensors after the first {tensors} are not read");
            return Err(Malformed::new(Trouble::Limit, start, what));
        }
        self.fields.at = end;
        self.parsed.tensors.push(Tensor { name, dtype: word.into(), shape: dims, span: Some(at..end) });
        Ok(true)
    }

    /// Dimensions, type and name of a tensor, where they can be those of one.
    fn tensor_head(&mut self) -> Result<Option<(Vec<u64>, u32, String)>, Malformed> {
        if self.fields.left() < 12 {
            return Ok(None);
        }
        let (count, len, kind) = (self.number()?, self.number()?, self.number()?);
        // A single number has no dimensions.
        if count > DIMS_MAX || !(1..=NAME_BYTES_MAX).contains(&len) {
            return Ok(None);
        }
        if u64::from(4 * count + len) > self.fields.left() {
            return Ok(None);
        }
        let mut dims = Vec::new();
        for _ in 0..count {
            dims.push(u64::from(self.number()?));
        }
        let name = String::from_utf8_lossy(self.fields.bytes(len.into())?).into_owned();
        Ok((!name.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER)).then_some((dims, kind, name)))
    }

    /// Name, elements and bytes of a block of a type at the time of this file.
    fn kind_of(&self, kind: u32) -> Option<(&'static str, u64, u64)> {
        match (kind, self.wide_scales) {
            (2, true) => Some(("Q4_0", 32, 20)),
            (3, true) => Some(("Q4_1", 32, 24)),
            (4, true) => Some(("Q4_2", 16, 10)),
            (5, true) => Some(("Q4_3", 16, 12)),
            (8, true) => Some(("Q8_0", 32, 36)),
            // Integers had other numbers then; no model stores them.
            (0..=15, _) => types::of(kind),
            _ => None,
        }
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        self.fields.array().map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests;
