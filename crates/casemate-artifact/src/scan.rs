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
use crate::{Child, Imports, Malformed, Parsed, Probe, Role, TextKind, Trouble, Verdict};

mod storages;
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
}

/// One object in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedObject {
    /// Path inside the file, members joined by `!`; empty for the file itself.
    pub member: String,
    /// Format.
    pub format: &'static str,
    /// Size in bytes.
    pub size_bytes: u64,
}

/// Objects listed by name in a [`Scan`].
const OBJECTS_LISTED_MAX: usize = 10_000;

struct Work {
    member: String,
    source: SharedSource,
    role: Role,
    depth: u32,
    /// Whether it is a member of a torch archive.
    in_torch: bool,
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
        };
        let mut waiting = vec![Work { member: String::new(), source, role: role_of(path), depth: 0, in_torch: false }];
        while let Some(work) = waiting.pop() {
            let (is_torch, children) = self.object(&work, &mut progress, &mut scan);
            // The list is a stack; reversed, members are judged in the order they stand in the file.
            waiting.extend(children.into_iter().rev().map(|child| Work {
                member: if work.member.is_empty() { child.name } else { format!("{}!{}", work.member, child.name) },
                source: child.source,
                role: if work.role == Role::Inert { Role::Inert } else { child.role },
                depth: work.depth + 1,
                in_torch: is_torch,
            }));
        }
        scan.verdict = progress.found.verdict();
        (scan.findings, scan.findings_left_out) = progress.found.into_sorted();
        scan.weights = progress.weights.map(Weights::into_objects).unwrap_or_default();
        scan
    }

    /// Recognises, parses and judges one object; returns whether it is a torch archive, and the objects in it.
    fn object(&self, work: &Work, progress: &mut Progress, scan: &mut Scan) -> (bool, Vec<Child>) {
        let (recognised, mut parsed) = self.read(&scan.path, work, &progress.budget);
        let format = match recognised {
            Some(format) => parsed.refined.unwrap_or(format.meta().id),
            None if work.role == Role::RawData => "raw",
            None => "unknown",
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
        note(work, recognised, format, &parsed, scan);
        scan.bytes_unclaimed += hidden.iter().map(|gap| gap.end - gap.start).sum::<u64>();
        let mut children = std::mem::take(&mut parsed.children);
        children.extend(unclaimed.into_iter().map(|gap| Child {
            name: format!("bytes@{}", gap.start),
            source: Arc::new(RangeSource::new(Arc::clone(&work.source), gap.start, gap.end - gap.start)),
            role: Role::Unclaimed,
        }));
        (matches!(format, "pytorch-zip" | "torchscript"), children)
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
        if let Some(format) = sniffed(Sniff::Certain).find(|format| is_believable(*format, &object)) {
            let mut parsed = format.parse(&object);
            if !matches!(format.meta().id, "pickle" | "torch-legacy") {
                second_reading(&object, &mut parsed);
            }
            return (Some(format), parsed);
        }
        if work.role == Role::RawData {
            return (None, Parsed::default());
        }
        // None is certain: the first that can account for bytes is it.
        let parsed = sniffed(Sniff::Likely).map(|format| (format, format.parse(&object)));
        let mut readable = parsed.filter(|(_, parsed)| !parsed.claims.ranges().is_empty());
        readable.next().map_or((None, Parsed::default()), |(format, parsed)| (Some(format), parsed))
    }
}

/// What a loader does with a file of this name.
///
/// A shard of a TensorFlow checkpoint is numbers from its first byte to its last and has no structure of its own, so the
/// name TensorFlow finds it by is all there is. Anything with an unmistakable beginning is still read as what it is.
fn role_of(path: &str) -> Role {
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let shard = path.rsplit_once(".data-").and_then(|(_, shard)| shard.split_once("-of-"));
    match shard.is_some_and(|(n, count)| digits(n) && digits(count)) {
        true => Role::RawData,
        false => Role::Any,
    }
}

fn note(work: &Work, recognised: Option<&dyn Format>, format: &'static str, parsed: &Parsed, scan: &mut Scan) {
    if work.depth == 0 {
        scan.format = format;
    }
    match scan.objects.len() < OBJECTS_LISTED_MAX {
        true => scan.objects.push(ScannedObject {
            member: work.member.clone(),
            format,
            size_bytes: work.source.size_bytes(),
        }),
        false => scan.objects_left_out += 1,
    }
    let meta = recognised.map(Format::meta);
    let loaded = matches!(work.role, Role::Any | Role::TorchPickle);
    scan.runs_code_by_design |= loaded && meta.is_some_and(|meta| meta.runs_code);
    scan.is_model |= meta.is_some_and(|meta| meta.is_model);
    // Prose that quotes a template is none.
    scan.has_template |= format != "text" && parsed.texts.iter().any(|text| text.kind == TextKind::Template);
    scan.tensors += parsed.tensors.len() as u64;
    let imports = parsed.events.iter().filter_map(|event| match &event.action {
        Action::Import(global) => Some(global.to_string()),
        _ => None,
    });
    scan.imports.extend(imports.take(10_000_usize.saturating_sub(scan.imports.len())));
}

/// Numbers may begin like a pickle by chance: among raw data a format has to be right at the end as well.
fn is_believable(format: &dyn Format, object: &Object<'_>) -> bool {
    object.role != Role::RawData || format.meta().id != "pickle" || object.probe.tail.ends_with(b".")
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
        assert_eq!(scan("x.data-0-of-1", &[0xfe, 0, 1, 0xff]).verdict, Verdict::Unscannable);
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
