//! Golden samples: every detector with what it must see, what it must not, and what a real exporter writes.
//!
//! `testdata/artifact/<rule>/{hit,near,benign}-<what>.<ext>.hex`; beside each a `.snap` with the whole answer, rewritten when
//! `CASEMATE_BLESS=1`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;

use std::collections::BTreeSet;
use std::fmt::Write;

use casemate_artifact::detectors::DETECTORS;
use casemate_artifact::{Scan, Verdict};
use casemate_core::Severity;

use crate::common::{samples, scan};

#[test]
fn every_detector_has_a_hit_a_near_miss_and_a_benign_twin() {
    let present: BTreeSet<_> = samples().into_iter().map(|sample| (sample.rule, sample.kind)).collect();
    let rules: BTreeSet<_> = DETECTORS.iter().map(|detector| detector.meta().id.to_owned()).collect();
    for rule in &rules {
        for kind in ["hit", "near", "benign"] {
            assert!(present.contains(&(rule.clone(), kind.into())), "{rule} has no `{kind}` sample");
        }
    }
    for (rule, kind) in present {
        assert!(rules.contains(&rule), "no detector is called {rule}");
        assert!(["hit", "near", "benign"].contains(&kind.as_str()), "{rule} has a sample of kind {kind}");
    }
}

#[test]
fn hits_fire_near_misses_do_not_and_benign_files_are_clean() {
    for sample in samples() {
        let scan = scan(&sample.name, &sample.bytes);
        let fires = scan.findings.iter().any(|finding| finding.rule == sample.rule);
        let shown = render(&scan);
        let what = format!("{}/{}: {shown}", sample.rule, sample.name);
        match sample.kind.as_str() {
            "hit" => assert!(fires, "does not fire: {what}"),
            "near" => assert!(!fires, "fires: {what}"),
            // That a format can run code is said of every pickle, good ones too.
            _ => assert!(
                !fires
                    && scan.verdict == Verdict::Clean
                    && scan.findings.iter().all(|finding| finding.severity <= Severity::Low),
                "is not clean: {what}"
            ),
        }
    }
}

#[test]
fn answers_are_those_of_the_snapshots() {
    let bless = std::env::var_os("CASEMATE_BLESS").is_some();
    let mut stale = Vec::new();
    for sample in samples() {
        let path = sample.path.with_extension("snap");
        let answer = render(&scan(&sample.name, &sample.bytes));
        if bless {
            std::fs::write(&path, &answer).unwrap();
        } else if std::fs::read_to_string(&path).unwrap_or_default() != answer {
            stale.push(format!("{}\n{answer}", path.display()));
        }
    }
    assert!(stale.is_empty(), "differ from their snapshots (CASEMATE_BLESS=1 rewrites them):\n{}", stale.join("\n"));
}

/// Verdict, format, and one line for each finding.
fn render(scan: &Scan) -> String {
    let mut out = format!("verdict {}\nformat {}\n", scan.verdict.as_str(), scan.format);
    for finding in &scan.findings {
        let member = finding.location.member.as_deref().unwrap_or("");
        let offset = finding.location.offset.map_or("-".into(), |offset| offset.to_string());
        writeln!(out, "{} {} {member}@{offset} {}", finding.severity, finding.rule, finding.message).unwrap();
    }
    out
}
