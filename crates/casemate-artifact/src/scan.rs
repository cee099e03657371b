//! One file from bytes to verdict: every object in it is recognised, parsed and judged.
//!
//! Objects wait on a list, not on the call stack, so nesting costs nothing but its own bytes. An object is read by the
//! first format that is certain of it; bytes that format does not account for become an object themselves, so a second
//! format in the same file is met there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use casemate_core::{Finding, Limits, RangeSource, SharedSource, SourceExt};

use crate::detectors::{DETECTORS, Detector, Findings, Inspection};
use crate::formats::pickle::second_reading;
use crate::formats::{Budget, FORMATS, Format, Object, Sniff};
use crate::pickle::Action;
use crate::weights::{NumbersOnly, WeightObject, WeightReader};
use crate::{Child, Imports, Malformed, Parsed, Probe, Role, TextKind, Trouble, Verdict, clues};

mod beside;
mod manifest;
mod storages;
mod zarr;

pub use beside::Beside;
use storages::Weights;

/// Scans files under given limits and the built-in policy.
#[derive(Clone, Debug)]
pub struct Scanner {
    limits: Limits,
    weights: Option<&'static dyn WeightReader>,
}

/// What was found in one file.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Path as given.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Format of the file itself, `unknown` where none fits.
    pub format: &'static str,
    /// The worst over all objects.
    pub verdict: Verdict,
    /// What speaks against it, the worst first, at most [`Limits::findings_max`].
    pub findings: Vec<Finding>,
    /// Findings beyond that.
    pub findings_left_out: u64,
    /// Every object looked at, the file itself first.
    pub objects: Vec<ScannedObject>,
    /// Objects beyond the ones listed.
    pub objects_left_out: u64,
    /// Names the pickles in it import, whatever the policy says of them.
    pub imports: BTreeSet<String>,
    /// Non-zero bytes that no format accounts for.
    pub bytes_unclaimed: u64,
    /// Number of tensors listed.
    pub tensors: u64,
    /// The tensors of each object, where weights were read.
    pub weights: Vec<WeightObject>,
    /// Whether any object is of a format that can run code by design.
    pub runs_code_by_design: bool,
    /// Whether any object is of a model format.
    pub is_model: bool,
    /// Whether it carries a chat template.
    pub has_template: bool,
    /// Whether the verdict rests on files beside this one too.
    pub rests_on_others: bool,
}

/// One object in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedObject {
    /// Path inside the file, members joined by `!`; empty for the file itself. Hostile archives have several of one name.
    pub member: String,
    /// How deep it lies; 0 for the file itself.
    pub depth: u32,
    /// Format.
    pub format: &'static str,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Whether it is a model by itself: of a model format, or an archive that a loader takes as one.
    pub is_model: bool,
}

/// Archives whose loader takes the whole as one model; what is inside of them is part of it.
const MODEL_ARCHIVES: &[&str] = &["keras", "pytorch-zip", "torch-tar", "torchscript"];

/// Objects listed by name in a [`Scan`].
const OBJECTS_LISTED_MAX: usize = 10_000;

struct Work {
    member: String,
    source: SharedSource,
    role: Role,
    depth: u32,
    /// Whether it is a member of a torch archive.
    in_torch: bool,
    /// Whether a list beside it says that it is numbers.
    declared: bool,
}

impl Work {
    /// What it is called where no format fits.
    fn formless(&self) -> &'static str {
        if self.declared || self.role == Role::RawData { "raw" } else { "unknown" }
    }
}

/// What scanning one file has cost and found so far.
struct Progress {
    budget: Budget,
    found: Findings,
    weights: Option<Weights>,
}

impl Scanner {
    /// A scanner under `limits`.
    pub fn new(limits: Limits) -> Self {
        Self { limits, weights: None }
    }

    /// The same, reading every tensor with `reader` too.
    #[must_use]
    pub fn with_weights(self, reader: &'static dyn WeightReader) -> Self {
        Self { weights: Some(reader), ..self }
    }

    /// Judges `source`, called `path` in the findings. Never fails: what could not be read makes it unscannable.
    pub fn scan(&self, path: &str, source: SharedSource) -> Scan {
        self.scan_beside(path, source, &|_| None)
    }

    /// As [`Scanner::scan`]; `beside` opens the files in its folder, by which numbers are told from noise.
    pub fn scan_beside(&self, path: &str, source: SharedSource, beside: &Beside<'_>) -> Scan {
        self.scan_each(path, source, beside, &mut |_, _| ())
    }

    /// As [`Scanner::scan_beside`]; `visit` gets every object with its bytes, listed or not: a parent, then everything
    /// in it, then what comes after it.
    pub fn scan_each(
        &self,
        path: &str,
        source: SharedSource,
        beside: &Beside<'_>,
        visit: &mut dyn FnMut(&ScannedObject, &SharedSource),
    ) -> Scan {
        let size_bytes = source.size_bytes();
        let mut progress = Progress {
            budget: Budget::of_file(size_bytes),
            found: Findings::new(self.limits.findings_max),
            weights: self.weights.map(|reader| Weights::new(reader, size_bytes)),
        };
        let mut scan = Scan {
            path: path.into(),
            size_bytes,
            format: "unknown",
            verdict: Verdict::Clean,
            findings: Vec::new(),
            findings_left_out: 0,
            objects: Vec::new(),
            objects_left_out: 0,
            imports: BTreeSet::new(),
            bytes_unclaimed: 0,
            tensors: 0,
            weights: Vec::new(),
            runs_code_by_design: false,
            is_model: false,
            has_template: false,
            rests_on_others: false,
        };
        let role = role_of(path);
        let declared = role == Role::Any && beside::declares(path, &source, beside);
        scan.rests_on_others = declared;
        let mut waiting = vec![Work { member: String::new(), source, role, depth: 0, in_torch: false, declared }];
        while let Some(work) = waiting.pop() {
            let (object, children) = self.object(&work, &mut progress, &mut scan);
            let is_torch = matches!(object.format, "pytorch-zip" | "torchscript");
            visit(&object, &work.source);
            list(object, &mut scan);
            // The list is a stack; reversed, members are judged in the order they stand in the file.
            let passes_on = work.declared && children.len() == 1;
            let declared = beside::declared(&children);
            waiting.extend(children.into_iter().zip(declared).rev().map(|(child, declared)| Work {
                member: if work.member.is_empty() { child.name } else { format!("{}!{}", work.member, child.name) },
                source: child.source,
                role: if work.role == Role::Inert { Role::Inert } else { child.role },
                depth: work.depth + 1,
                in_torch: is_torch,
                // What is in a packed chunk is what the chunk is.
                declared: declared || passes_on,
            }));
        }
        scan.verdict = progress.found.verdict();
        (scan.findings, scan.findings_left_out) = progress.found.into_sorted();
        scan.weights = progress.weights.map(Weights::into_objects).unwrap_or_default();
        scan
    }

    /// Recognises, parses and judges one object; returns the objects in it.
    fn object(&self, work: &Work, progress: &mut Progress, scan: &mut Scan) -> (ScannedObject, Vec<Child>) {
        let (recognised, mut parsed) = self.read(&scan.path, work, &progress.budget);
        look_over(&mut parsed, recognised);
        let format = match recognised {
            Some(format) => parsed.refined.unwrap_or(format.meta().id),
            None => work.formless(),
        };
        let unclaimed = if recognised.is_some() { nonzero_gaps(work, &mut parsed) } else { Vec::new() };
        if let Some(weights) = &mut progress.weights {
            weights.read(work, format, &mut parsed);
        }
        // After trouble the rest of the bytes is unread, not hidden: it is looked into, but is no finding of its own.
        let cut_short = parsed.malformed.iter().any(|malformed| malformed.trouble != Trouble::Ambiguous);
        let hidden: &[Range<u64>] = if cut_short { &[] } else { &unclaimed };
        let inspection = Inspection {
            path: &scan.path,
            member: &work.member,
            format,
            family: recognised.map(Format::meta),
            role: work.role,
            parsed: &parsed,
            unclaimed: hidden,
            imports: Imports::built_in(),
        };
        progress.found.about(work.role);
        DETECTORS.iter().for_each(|detector| detector.inspect(&inspection, &mut progress.found));
        let object = note(work, recognised, format, &parsed, scan);
        scan.bytes_unclaimed += hidden.iter().map(|gap| gap.end - gap.start).sum::<u64>();
        let programs = programs(work, &parsed);
        let mut children = std::mem::take(&mut parsed.children);
        children.extend(programs);
        // A format that accounts for nothing would be met in its own bytes again, and again.
        let whole = 0..work.source.size_bytes();
        children.extend(unclaimed.into_iter().filter(|gap| *gap != whole).map(|gap| Child {
            name: format!("bytes@{}", gap.start),
            source: Arc::new(RangeSource::new(Arc::clone(&work.source), gap.start, gap.end - gap.start)),
            role: Role::Unclaimed,
        }));
        (object, children)
    }

    fn read(&self, path: &str, work: &Work, budget: &Budget) -> (Option<&'static dyn Format>, Parsed) {
        let trouble = |trouble, what: String| Parsed {
            malformed: vec![Malformed::new(trouble, None, what)],
            ..Parsed::default()
        };
        if work.depth > self.limits.depth_max {
            return (None, trouble(Trouble::Limit, format!("nested more than {} deep", self.limits.depth_max)));
        }
        let probe = match Probe::read(work.source.as_ref()) {
            Ok(probe) => probe,
            Err(error) => return (None, trouble(Trouble::Unreadable, format!("cannot be read: {error}"))),
        };
        let object = Object {
            name: if work.member.is_empty() { path } else { &work.member },
            source: &work.source,
            probe: &probe,
            role: work.role,
            limits: &self.limits,
            budget,
        };
        let sniffed = |wanted| FORMATS.iter().copied().filter(move |format| format.sniff(object.probe) == wanted);
        if let Some(format) = sniffed(Sniff::Certain).find(|format| format.is_believable(&object)) {
            let mut parsed = format.parse(&object);
            if !format.reads_pickles() {
                second_reading(&object, &mut parsed);
            }
            return (Some(format), parsed);
        }
        if work.role == Role::RawData {
            return (None, Parsed::default());
        }
        // None is certain: the first that can account for bytes is it.
        let parsed = sniffed(Sniff::Likely).map(|format| (format, format.parse(&object)));
        let mut readable = parsed.filter(|(_, parsed)| match work.declared {
            true => acts(parsed) || is_whole(parsed, probe.size_bytes),
            false => !parsed.claims.ranges().is_empty(),
        });
        readable.next().map_or((None, Parsed::default()), |(format, parsed)| (Some(format), parsed))
    }
}

/// Whether reading it would do anything.
fn acts(parsed: &Parsed) -> bool {
    !(parsed.events.is_empty() && parsed.calls.is_empty() && parsed.settings.is_empty() && parsed.active.is_empty())
}

/// Whether every byte was accounted for without trouble.
fn is_whole(parsed: &Parsed, size_bytes: u64) -> bool {
    parsed.malformed.is_empty() && !parsed.claims.ranges().is_empty() && parsed.claims.gaps(size_bytes).is_empty()
}

/// What a loader does with a file of this name.
///
/// A shard of a TensorFlow checkpoint or of a model of TensorFlow.js is numbers from its first byte to its last and has no
/// structure of its own, so the name the loader finds it by is all there is. Anything with an unmistakable beginning is still
/// read as what it is. Numbers under a name of their own (`weights.bin`) cannot be told from what nobody can read.
fn role_of(path: &str) -> Role {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let five = |text: &str| text.len() == 5 && digits(text);
    let checkpoint = path.rsplit_once(".data-").and_then(|(_, shard)| shard.split_once("-of-"));
    let script = path.strip_suffix(".bin").and_then(|path| path.rsplit_once("-shard")?.1.split_once("of"));
    let numbered = |(n, count): (&str, &str)| !n.is_empty() && !count.is_empty() && digits(n) && digits(count);
    match checkpoint.is_some_and(|(n, count)| five(n) && five(count)) || script.is_some_and(numbered) {
        true => Role::RawData,
        false => Role::Any,
    }
}

fn list(object: ScannedObject, scan: &mut Scan) {
    match scan.objects.len() < OBJECTS_LISTED_MAX {
        true => scan.objects.push(object),
        false => scan.objects_left_out += 1,
    }
}

fn note(
    work: &Work,
    recognised: Option<&dyn Format>,
    format: &'static str,
    parsed: &Parsed,
    scan: &mut Scan,
) -> ScannedObject {
    if work.depth == 0 {
        scan.format = format;
    }
    let meta = recognised.map(Format::meta);
    let loaded = matches!(work.role, Role::Any | Role::TorchPickle);
    scan.runs_code_by_design |= loaded && meta.is_some_and(|meta| meta.runs_code);
    scan.is_model |= meta.is_some_and(|meta| meta.is_model);
    // Prose that quotes a template is none.
    let is_prose = recognised.is_some_and(Format::is_prose);
    scan.has_template |= !is_prose && parsed.texts.iter().any(|text| text.kind == TextKind::Template);
    scan.tensors += parsed.tensors.len() as u64;
    let imports = parsed.events.iter().filter_map(|event| match &event.action {
        Action::Import(global) => Some(global.to_string()),
        _ => None,
    });
    scan.imports.extend(imports.take(10_000_usize.saturating_sub(scan.imports.len())));
    ScannedObject {
        member: work.member.clone(),
        depth: work.depth,
        format,
        size_bytes: work.source.size_bytes(),
        is_model: meta.is_some_and(|meta| meta.is_model) || MODEL_ARCHIVES.contains(&format),
    }
}

/// Tensors of single bytes that begin as a program does: their whole header is checked where they are read.
fn programs(work: &Work, parsed: &Parsed) -> Vec<Child> {
    const BYTE_TYPES: &[&str] = &["U8", "I8", "BOOL", "UINT8", "INT8", "uint8", "int8", "bool"];
    const HEADER_BYTES: u64 = 64;
    let begins = |head: &[u8]| {
        let fat = [b"\xca\xfe\xba\xbe", b"\xca\xfe\xba\xbf", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf"];
        let thin = [b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\x7fELF"];
        head.starts_with(b"MZ")
            || head.starts_with(b"#!")
            || fat.iter().chain(&thin).any(|magic| head.starts_with(*magic))
    };
    let mut found = Vec::new();
    for tensor in parsed.tensors.iter().filter(|tensor| BYTE_TYPES.contains(&tensor.dtype.as_str())) {
        let Some(span) = tensor.span.clone().filter(|span| span.end.saturating_sub(span.start) >= HEADER_BYTES) else {
            continue;
        };
        // A medium that fails here has failed the parser before, or fails whoever claims the bytes.
        let head = work.source.bytes_at(span.start, HEADER_BYTES).unwrap_or_default();
        if begins(&head) {
            let source = Arc::new(RangeSource::new(Arc::clone(&work.source), span.start, span.end - span.start));
            found.push(Child { name: tensor.name.clone(), source, role: Role::RawData });
        }
    }
    found
}

/// Looks over the texts a parser handed on; files of text and code have been, line by line.
fn look_over(parsed: &mut Parsed, recognised: Option<&dyn Format>) {
    if recognised.is_none_or(Format::is_prose) {
        return;
    }
    let Parsed { texts, clues, .. } = parsed;
    for text in texts.iter() {
        clues::note(clues, &text.text, clues::Place { key: &text.key, offset: text.offset, line: None });
    }
}

/// The unclaimed stretches that hold anything but zeros, cut to where that begins.
fn nonzero_gaps(work: &Work, parsed: &mut Parsed) -> Vec<Range<u64>> {
    const CHUNK_BYTES: u64 = 1 << 20;
    let mut found = Vec::new();
    for gap in parsed.claims.gaps(work.source.size_bytes()) {
        let mut at = gap.start;
        while at < gap.end {
            let bytes = match work.source.bytes_at(at, CHUNK_BYTES.min(gap.end - at)) {
                Ok(bytes) if !bytes.is_empty() => bytes,
                Ok(_) => break,
                Err(error) => {
                    parsed.malformed.push(Malformed::new(Trouble::Unreadable, at, error.to_string()));
                    return found;
                }
            };
            if let Some(i) = bytes.iter().position(|byte| *byte != 0) {
                found.push(at + i as u64..gap.end);
                break;
            }
            at += bytes.len() as u64;
        }
    }
    found
}

/// How many detectors were shown a planted defect, and how many saw it.
///
/// A detector that has never been shown to fire is not evidence, so every scan that becomes evidence carries this.
pub fn self_test() -> (u64, u64) {
    let scanner = Scanner::new(Limits::default()).with_weights(&NumbersOnly);
    let seen = |detector: &&&dyn Detector| {
        let (name, bytes) = detector.planted();
        let scan = scanner.scan(name, Arc::new(casemate_core::MemorySource::new(bytes)));
        scan.findings.iter().any(|finding| finding.rule == detector.meta().id)
    };
    (DETECTORS.len() as u64, DETECTORS.iter().filter(seen).count() as u64)
}

/// Number of objects of each format in a scan.
pub fn formats(scan: &Scan) -> BTreeMap<&'static str, u64> {
    let mut formats = BTreeMap::new();
    scan.objects.iter().for_each(|object| *formats.entry(object.format).or_default() += 1);
    formats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_of_checkpoints_are_numbers_unless_they_begin_like_something_else() {
        let scan = |name, bytes: &[u8]| {
            Scanner::new(Limits::default()).scan(name, Arc::new(casemate_core::MemorySource::new(bytes)))
        };
        let numbers = scan("variables/variables.data-00000-of-00001", &[0xfe, 0, 1, 0xff, 3, 0xfd, 0, 0x99]);
        assert_eq!((numbers.verdict, numbers.format), (Verdict::Clean, "raw"));
        let pickle = scan("variables.data-00000-of-00001", b"\x80\x04\x8c\x02os\x8c\x06system\x93(\x8c\x04truetR.");
        assert_eq!(pickle.verdict, Verdict::Malicious);
        assert_eq!(scan("group1-shard1of2.bin", &[0xfe, 0, 1, 0xff]).format, "raw");
        for name in ["x.data-0-of-1", "model-shard1of.bin", "shard1of2.bin", "weights.bin"] {
            assert_eq!(scan(name, &[0xfe, 0, 1, 0xff]).verdict, Verdict::Unscannable, "{name}");
        }
    }

    #[test]
    fn programs_in_tensors_of_bytes_are_found_by_their_whole_header() {
        let elf = [
            &b"\x7fELF\x02\x01\x01"[..],
            &[0; 9],
            &[3, 0, 62, 0, 1, 0, 0, 0],
            &[0; 28],
            &[64, 0, 56, 0, 0, 0, 64, 0, 0, 0, 0, 0],
        ]
        .concat();
        let scan = |dtype: &str, data: &[u8]| {
            let header = format!(
                "{{\"w\":{{\"dtype\":\"{dtype}\",\"shape\":[{}],\"data_offsets\":[0,{}]}}}}",
                data.len(),
                data.len()
            );
            let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
            Scanner::new(Limits::default()).scan("model.safetensors", Arc::new(casemate_core::MemorySource::new(bytes)))
        };
        let found = scan("U8", &[&elf[..], &[0; 64]].concat());
        assert_eq!(found.verdict, Verdict::Malicious, "{:?}", found.findings);
        assert!(found.findings.iter().any(|finding| finding.rule == "embedded-executable"));
        // The magic alone is chance, and so is the start of a word.
        for near in [&b"\x7fELF"[..], b"MZ", b"#!", b"#! no path"] {
            let data = [near, &[0xa5; 200]].concat();
            assert_eq!(scan("U8", &data).verdict, Verdict::Clean, "{near:?}");
        }
    }

    #[test]
    fn files_with_a_node_behind_them_are_stores_by_their_name_alone() {
        let node = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/ocdbt/inline")).unwrap();
        let scan = |name: &str, bytes: &[u8]| {
            Scanner::new(Limits::default()).scan(name, Arc::new(casemate_core::MemorySource::new(bytes))).format
        };
        let values = [&b"\xfe numbers \xff"[..], &node].concat();
        assert_eq!(scan("c/d/9e4cde41b82b975f4d1674a22ed1c0f8", &values), "ocdbt");
        assert_eq!(scan("model.bin", &values), "unknown");
        assert_eq!(scan("model.bin", &node), "ocdbt");
    }

    #[test]
    fn every_detector_fires_on_its_planted_defect() {
        let scanner = Scanner::new(Limits::default()).with_weights(&NumbersOnly);
        for detector in DETECTORS {
            let (name, bytes) = detector.planted();
            let scan = scanner.scan(name, Arc::new(casemate_core::MemorySource::new(bytes)));
            let rules: Vec<_> = scan.findings.iter().map(|finding| finding.rule.as_str()).collect();
            assert!(rules.contains(&detector.meta().id), "{}: {} {rules:?}", detector.meta().id, scan.format);
        }
        assert_eq!(self_test().0, self_test().1);
    }
}
