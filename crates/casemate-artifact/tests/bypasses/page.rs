//! The page `docs/explain/bypasses.md`: what the table asks for and what came out.

use std::collections::BTreeSet;
use std::fmt::Write;

use casemate_artifact::Scan;
use casemate_core::Severity;

use crate::Outcome;
use crate::table::PUBLISHED;

const INTRODUCTION: &str = "\
# Ways past a scanner, and what casemate says

Every technique below has been published against a scanner of models, in bug reports of picklescan, modelscan and fickling
or in papers ([arXiv 2508.19774](https://arxiv.org/abs/2508.19774), [arXiv 2508.15987](https://arxiv.org/abs/2508.15987)).
For each, `crates/casemate-artifact/tests/bypasses` assembles the variants it lists, byte by byte and with an inert payload,
and asks for an answer; a harmless twin of each must come out clean. This page is written by that test
(`CASEMATE_BLESS=1 cargo test -p casemate-artifact --test bypasses`) and compared with it in every run, so it says what is so.

Rules that only state a fact (severity low and below) are left out. Where several verdicts stand, the variants differ.
";

const OWN: &str = "
## Beyond the published ones

Found while building the scanner; the same test holds them.
";

/// The page about these outcomes.
pub fn render(outcomes: &[Outcome]) -> String {
    let mut page = String::from(INTRODUCTION);
    let (published, own): (Vec<_>, Vec<_>) = outcomes.iter().partition(|outcome| outcome.technique.number <= PUBLISHED);
    table(&mut page, &published);
    page.push_str(OWN);
    table(&mut page, &own);
    let count = |outcomes: &[&Outcome]| outcomes.iter().map(|outcome| outcome.scans.len()).sum::<usize>();
    let (all, more) = (count(&published), count(&own));
    writeln!(page, "\n{all} samples of {} published techniques, {more} of our own.", published.len()).unwrap();
    page
}

fn table(page: &mut String, outcomes: &[&Outcome]) {
    page.push_str("\n| | technique | variants | asked for | casemate says | by rule | twins |\n|-:|-|-:|-|-|-|-|\n");
    for Outcome { technique, scans } in outcomes {
        let found: Vec<_> = scans.iter().map(|(found, _)| found).collect();
        let twins: Vec<_> = scans.iter().map(|(_, twin)| twin).collect();
        let asked: BTreeSet<_> = technique.samples.iter().map(|sample| sample.answer).collect();
        let asked: Vec<_> = asked.into_iter().map(|answer| answer.words()).collect();
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} |",
            technique.number,
            technique.title,
            scans.len(),
            asked.join("; "),
            verdicts(&found),
            rules(&found),
            verdicts(&twins)
        )
        .unwrap();
    }
}

/// The distinct verdicts, the worst first.
fn verdicts(scans: &[&Scan]) -> String {
    let verdicts: BTreeSet<_> = scans.iter().map(|scan| scan.verdict).collect();
    verdicts.into_iter().rev().map(casemate_artifact::Verdict::as_str).collect::<Vec<_>>().join(", ")
}

fn rules(scans: &[&Scan]) -> String {
    let findings = scans.iter().flat_map(|scan| &scan.findings);
    let rules: BTreeSet<_> =
        findings.filter(|finding| finding.severity > Severity::Low).map(|finding| finding.rule.as_str()).collect();
    rules.into_iter().map(|rule| format!("`{rule}`")).collect::<Vec<_>>().join(" ")
}
