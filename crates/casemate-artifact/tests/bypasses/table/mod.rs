//! The published ways past a scanner of models, each with samples, the answer they must get, and harmless twins.
//!
//! A pickle loader runs code in so many ways, and archives hide it in so many, that every scanner has missed some. The
//! techniques are those of public bug reports (picklescan, modelscan, fickling) and papers (arXiv 2508.19774 and 2508.15987);
//! from 65 on they are our own finds. Samples are assembled byte by byte and never loaded; the payload is `echo x`.

use casemate_artifact::{Scan, Verdict};
use casemate_core::Severity;

use crate::common::{calling, harmless, hostile, scan};

mod calls;
mod containers;
mod costs;
mod files;
mod names;
mod nested;
mod own;
mod packed;
mod streams;

/// Published techniques; those after them are our own.
pub const PUBLISHED: u32 = 64;

/// What the scanner must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// Malicious.
    Malicious,
    /// Malicious, and the damage is reported too.
    MaliciousAndBroken,
    /// Malicious, and that readers disagree is reported too.
    MaliciousAndAmbiguous,
    /// Suspicious, no more and no less.
    Suspicious,
    /// Suspicious or worse.
    SuspiciousOrWorse,
    /// At least a fact that is said, at most suspicious.
    Said,
    /// Suspicious, or unscannable where nothing can be read; never clean.
    Malformed,
    /// Unscannable or worse: a bound was reached.
    Bounded,
    /// Within the bounds, so that any verdict but a false alarm will do.
    Cheap,
    /// Unscannable, no more and no less: not read.
    Unread,
}

impl Answer {
    /// Whether a scan gives this answer.
    pub fn fits(self, scan: &Scan) -> bool {
        let says = |rules: &[&str]| scan.findings.iter().any(|finding| rules.contains(&finding.rule.as_str()));
        let verdict = scan.verdict;
        match self {
            Self::Malicious => verdict == Verdict::Malicious,
            Self::MaliciousAndBroken => {
                verdict == Verdict::Malicious && says(&["content-undecodable", "malformed-ambiguous"])
            }
            Self::MaliciousAndAmbiguous => verdict == Verdict::Malicious && says(&["malformed-ambiguous"]),
            Self::Suspicious => verdict == Verdict::Suspicious,
            Self::SuspiciousOrWorse => verdict >= Verdict::Suspicious,
            Self::Said => verdict <= Verdict::Suspicious && !scan.findings.is_empty(),
            Self::Malformed | Self::Bounded => verdict != Verdict::Clean,
            Self::Cheap => verdict <= Verdict::Unscannable,
            Self::Unread => verdict == Verdict::Unscannable,
        }
    }

    /// The words of the page.
    pub fn words(self) -> &'static str {
        match self {
            Self::Malicious => "malicious",
            Self::MaliciousAndBroken => "malicious, damage reported",
            Self::MaliciousAndAmbiguous => "malicious, ambiguity reported",
            Self::Suspicious => "suspicious",
            Self::SuspiciousOrWorse => "suspicious or worse",
            Self::Said => "said, at most suspicious",
            Self::Malformed => "suspicious, or unscannable if unreadable",
            Self::Bounded => "bounded, not clean",
            Self::Cheap => "bounded",
            Self::Unread => "unscannable",
        }
    }
}

/// One way past a scanner.
pub struct Technique {
    /// Its number in the catalogue.
    pub number: u32,
    /// What it does, in a few words.
    pub title: &'static str,
    /// Its variants.
    pub samples: Vec<Sample>,
    /// What looks like it and is harmless: name and bytes.
    pub near: Vec<(&'static str, Vec<u8>)>,
}

impl Technique {
    /// Adds something harmless that looks like it.
    pub fn near(mut self, name: &'static str, bytes: Vec<u8>) -> Self {
        self.near.push((name, bytes));
        self
    }
}

/// One variant of a technique.
pub struct Sample {
    /// What sets it apart.
    pub what: String,
    /// The name it is scanned under.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What must be said of it.
    pub answer: Answer,
    /// The same without harm, or the nearest thing to it.
    pub twin: Vec<u8>,
}

impl Sample {
    /// Under another name than `model.pkl`.
    pub fn called(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }

    /// With another answer.
    pub fn must_be(self, answer: Answer) -> Self {
        Self { answer, ..self }
    }
}

/// A technique of these variants.
pub fn technique(number: u32, title: &'static str, samples: Vec<Sample>) -> Technique {
    Technique { number, title, samples, near: Vec::new() }
}

/// A variant that must be malicious, and its twin.
pub fn pair(what: &str, bytes: Vec<u8>, twin: Vec<u8>) -> Sample {
    Sample { what: what.into(), name: "model.pkl".into(), bytes, answer: Answer::Malicious, twin }
}

/// A variant of its own names; any harmless pickle is its twin.
pub fn alone(what: &str, bytes: Vec<u8>) -> Sample {
    pair(what, bytes, harmless())
}

/// A variant that works with any callable: hostile with `os.system`, harmless with `collections.OrderedDict`.
pub fn both(what: &str, build: impl Fn(&str, &str) -> Vec<u8>) -> Sample {
    pair(what, build("os", "system"), build("collections", "OrderedDict"))
}

/// A variant that wraps any pickle.
pub fn around(what: &str, name: &str, build: impl Fn(&[u8]) -> Vec<u8>) -> Sample {
    pair(what, build(&hostile()), build(&harmless())).called(name)
}

/// One variant for each `module.name`, called with a text.
pub fn each_called(gadgets: &str) -> Vec<Sample> {
    let call = |gadget: &str| {
        let (module, name) = gadget.split_once(':').or_else(|| gadget.rsplit_once('.')).unwrap();
        alone(&format!("`{module}.{name}`"), calling(module, name))
    };
    gadgets.split_whitespace().map(call).collect()
}

/// Every technique, by number.
pub fn techniques() -> Vec<Technique> {
    let families = [
        names::techniques(),
        calls::techniques(),
        streams::techniques(),
        costs::techniques(),
        nested::techniques(),
        containers::techniques(),
        packed::techniques(),
        files::techniques(),
        own::techniques(),
    ];
    let mut all: Vec<_> = families.into_iter().flatten().collect();
    all.sort_by_key(|technique| technique.number);
    all
}

/// Whether a scan is what a harmless file must get: clean, and nothing said above `low`.
pub fn is_clean(scan: &Scan) -> bool {
    scan.verdict == Verdict::Clean && scan.findings.iter().all(|finding| finding.severity <= Severity::Medium)
}

/// A scan of a variant.
pub fn scanned(sample: &Sample) -> Scan {
    scan(&sample.name, &sample.bytes)
}
