//! Every technique of the table gets its answer, every twin stays clean, and the page about them says what is so.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

#[path = "../common/mod.rs"]
mod common;
mod page;
mod table;

use std::sync::LazyLock;

use casemate_artifact::{Scan, Verdict};

use crate::common::scan;
use crate::table::{PUBLISHED, Technique, is_clean, scanned, techniques};

/// A technique with what is said of each variant and of its twin.
pub struct Outcome {
    /// The technique.
    pub technique: Technique,
    /// One pair for each of its samples.
    pub scans: Vec<(Scan, Scan)>,
}

/// Every technique, scanned once for all tests.
static OUTCOMES: LazyLock<Vec<Outcome>> = LazyLock::new(|| {
    let outcome = |technique: Technique| {
        let both = |sample: &table::Sample| (scanned(sample), scan(&sample.name, &sample.twin));
        let scans = technique.samples.iter().map(both).collect();
        Outcome { technique, scans }
    };
    techniques().into_iter().map(outcome).collect()
});

fn lines(scan: &Scan) -> String {
    scan.findings.iter().map(|finding| format!("\n    {} {}", finding.rule, finding.message)).collect()
}

#[test]
fn every_technique_gets_its_answer_and_every_twin_is_clean() {
    let mut wrong = Vec::new();
    for Outcome { technique, scans } in &*OUTCOMES {
        for (sample, (found, twin)) in technique.samples.iter().zip(scans) {
            let head = format!("technique {} ({}, {})", technique.number, technique.title, sample.what);
            if !sample.answer.fits(found) {
                let asked = sample.answer.words();
                wrong.push(format!("{head}: {asked} asked, got {:?}{}", found.verdict, lines(found)));
            }
            if !is_clean(twin) {
                wrong.push(format!("{head}: its twin is {:?}{}", twin.verdict, lines(twin)));
            }
        }
        for (name, bytes) in &technique.near {
            let near = scan(name, bytes);
            if near.verdict != Verdict::Clean {
                wrong.push(format!(
                    "technique {}: a near miss is {:?}{}",
                    technique.number,
                    near.verdict,
                    lines(&near)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_published_technique_is_in_the_table_once() {
    let numbers: Vec<_> = OUTCOMES.iter().map(|outcome| outcome.technique.number).collect();
    let last = numbers.last().copied().unwrap_or_default();
    assert!(last >= PUBLISHED);
    assert_eq!(numbers, (1..=last).collect::<Vec<_>>());
    assert!(OUTCOMES.iter().all(|outcome| !outcome.technique.samples.is_empty()));
}

#[test]
fn a_wrong_extension_is_said() {
    for name in ["m.safetensors", "m.onnx", "m.npy", "m.json", "m.txt"] {
        let found = scan(name, &common::harmless());
        assert!(found.findings.iter().any(|finding| finding.rule == "extension-mismatch"), "{name}");
    }
}

#[test]
fn the_page_about_the_techniques_is_fresh() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/explain/bypasses.md");
    let page = page::render(&OUTCOMES);
    if std::env::var_os("CASEMATE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "{} is stale: CASEMATE_BLESS=1 rewrites it", path.display());
}
