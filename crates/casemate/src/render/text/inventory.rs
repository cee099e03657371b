//! An inventory for a terminal: what needs a person first, then what is known; copies of one content together.

use std::collections::BTreeMap;

use casemate_artifact::Verdict;

use super::paper::{self, Ink, Paper};
use super::{verdict_ink, verdict_mark};
use crate::render::{plural, safe, size};
use crate::report::{ArtifactReport, Registration, RegistrationStatus, Report};

/// Models listed of one status.
const LISTED_MAX: usize = 200;

/// Places listed of one content.
const PLACES_MAX: usize = 5;

pub fn write(paper: &mut Paper, report: &Report) {
    let format_width = report.artifacts.iter().map(|file| paper::columns(&file.format)).max().unwrap_or(0).min(16);
    for status in RegistrationStatus::ALL {
        let models: Vec<(&ArtifactReport, &Registration)> = report
            .artifacts
            .iter()
            .filter_map(|file| Some((file, file.registration.as_ref()?)))
            .filter(|(_, registration)| registration.status == status)
            .collect();
        if models.is_empty() {
            continue;
        }
        paper.heading(title(status), &models.len().to_string());
        for (file, registration) in models.iter().take(LISTED_MAX) {
            model(paper, file, registration, format_width);
        }
        super::cut(paper, 2, models.len(), LISTED_MAX, "model");
    }
    copies(paper, report);
    summary(paper, report);
}

fn title(status: RegistrationStatus) -> &'static str {
    match status {
        RegistrationStatus::Quarantined => "Quarantined, and still here",
        RegistrationStatus::Altered => "Altered",
        RegistrationStatus::Unjudged => "Could not be told",
        RegistrationStatus::Unregistered => "Unregistered",
        RegistrationStatus::Scanned => "Scanned, declared nowhere",
        RegistrationStatus::Known => "Known",
    }
}

fn model(paper: &mut Paper, file: &ArtifactReport, registration: &Registration, format_width: usize) {
    let ink = verdict_ink(file.verdict);
    let cells = [
        (ink, verdict_mark(file.verdict), 0),
        (ink, file.verdict.as_str(), 11),
        (Ink::Dim, &*file.format, format_width),
        (Ink::Dim, &format!("{:>7}", size(file.size)), 7),
    ];
    paper.row(2, &cells, 6, &[(Ink::Bold, &place(file))]);
    let model = registration.model.as_ref().map(|model| format!("{}: ", safe(model))).unwrap_or_default();
    paper.flow(6, 8, &[(Ink::Dim, &format!("{model}{}", safe(&registration.basis)))]);
    let worst =
        file.findings.iter().filter(|finding| Verdict::of(finding) > Verdict::Clean).max_by_key(|it| Verdict::of(it));
    // Of a file that could not be judged the basis says why already.
    if let Some(worst) = worst.filter(|_| registration.status != RegistrationStatus::Unjudged) {
        paper.flow(6, 8, &[(ink, &format!("{}: {}", safe(&worst.rule), safe(&worst.message)))]);
    }
    if let Some(digest) = file.digest {
        paper.flow(6, 8, &[(Ink::Dim, &format!("sha256:{}", digest.sha256))]);
    }
}

fn place(file: &ArtifactReport) -> String {
    let member = file.member.as_ref().map(|member| format!(" ! {}", safe(member))).unwrap_or_default();
    format!("{}{member}", safe(&file.path))
}

fn copies(paper: &mut Paper, report: &Report) {
    let mut by_digest: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in &report.artifacts {
        if let Some(digest) = file.digest {
            by_digest.entry(digest.sha256.to_string()).or_default().push(place(file));
        }
    }
    let several: Vec<_> = by_digest.iter().filter(|(_, places)| places.len() > 1).collect();
    if several.is_empty() {
        return;
    }
    paper.heading("The same content in several places", &several.len().to_string());
    for (digest, places) in several.iter().take(LISTED_MAX) {
        paper.flow(2, 4, &[(Ink::Dim, &format!("sha256:{digest}"))]);
        places.iter().take(PLACES_MAX).for_each(|place| paper.flow(4, 6, &[(Ink::Plain, place)]));
        super::cut(paper, 4, places.len(), PLACES_MAX, "place");
    }
    super::cut(paper, 2, several.len(), LISTED_MAX, "content");
}

fn summary(paper: &mut Paper, report: &Report) {
    let number = |key: &str| report.summary.get(key).and_then(serde_json::Value::as_u64).unwrap_or_default();
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    paper.gap();
    let swept = format!(
        "{} in {}, {}",
        plural(count(number("models")), "model"),
        plural(count(number("files")), "file"),
        size(number("bytes"))
    );
    paper.flow(0, 2, &[(Ink::Bold, &swept)]);
    let (ink, word) = super::outcome_words(report.outcome);
    paper.flow(0, 2, &[(ink, word)]);
}
