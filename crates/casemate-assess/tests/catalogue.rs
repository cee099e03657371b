//! The shipped catalogue: it compiles, and its controls are the product's acceptance table.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use casemate_assess::control::{MapId, MaxAge};
use casemate_assess::facts::{self, KIND_DECLARED, KIND_FOUND};
use casemate_assess::gate::GateStage;
use casemate_assess::predicate::Field;
use casemate_assess::{Catalogue, Situation, Sources, assess};
use casemate_core::Timestamp;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn files(directory: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(root().join(&directory)).unwrap_or_else(|error| panic!("{directory}: {error}")) {
            let entry = entry.expect("a directory entry");
            let path = format!("{directory}/{}", entry.file_name().to_str().expect("a name in UTF-8"));
            if entry.file_type().expect("a file type").is_dir() {
                waiting.push(path);
            } else if path.ends_with(".toml") {
                let text = read(&path);
                files.push((path, text));
            }
        }
    }
    files.sort();
    files
}

fn catalogue() -> Catalogue {
    let sources = Sources {
        controls: &files("catalogue/controls"),
        frameworks: &files("catalogue/frameworks"),
        kinds: ("catalogue/kinds.toml", &read("catalogue/kinds.toml")),
        gates: ("catalogue/gates.toml", &read("catalogue/gates.toml")),
        obligations: ("catalogue/obligations.toml", &read("catalogue/obligations.toml")),
    };
    Catalogue::compile(&sources).unwrap_or_else(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{} mistakes:\n{}", lines.len(), lines.join("\n"))
    })
}

/// Rows of a CSV text with a header and quoted fields, by column.
fn csv(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut rows: Vec<Vec<String>> = vec![vec![String::new()]];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let row = rows.last_mut().expect("at least one row");
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                push(row, '"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(String::new()),
            '\n' if !quoted => rows.push(vec![String::new()]),
            '\r' if !quoted => {}
            c => push(row, c),
        }
    }
    let mut rows = rows.into_iter().filter(|row| row.iter().any(|field| !field.is_empty()));
    let header = rows.next().expect("a header");
    rows.map(|row| {
        assert_eq!(row.len(), header.len(), "{row:?}");
        header.iter().cloned().zip(row).collect()
    })
    .collect()
}

fn push(row: &mut [String], c: char) {
    if let Some(field) = row.last_mut() {
        field.push(c);
    }
}

/// The ids of the table, each with framework and edition: `AML.M0025,M0007` is two ids, `AML.M0025` and `AML.M0007`.
fn expanded(short: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for group in short.split(';').map(str::trim).filter(|group| *group != "all") {
        let mut prefix = String::new();
        for id in group.split(',').map(str::trim) {
            let whole = match id {
                id if prefix == "AML." && !id.starts_with("AML.") => format!("AML.{id}"),
                id if prefix == "NISTAML." && !id.starts_with("NISTAML.") => format!("NISTAML.{id}"),
                id => id.to_owned(),
            };
            for start in ["NISTAML.", "AML."] {
                if whole.starts_with(start) {
                    prefix = start.into();
                }
            }
            ids.push(with_edition(&whole));
        }
    }
    ids.sort();
    ids
}

fn with_edition(id: &str) -> String {
    if let Some((id, edition)) = id.split_once(':') {
        return format!("owasp-llm@{edition}:{id}");
    }
    let lists = [
        ("NISTAML", "nist-ai-100-2@e2025"),
        ("AML.", "mitre-atlas@5.6.0"),
        ("ML", "owasp-ml@2023"),
        ("A.", "iso-42001@2023"),
        ("Art", "eu-ai-act@2024-1689+2026-1744"),
        ("GOVERN", "nist-ai-rmf@1.0"),
        ("MAP", "nist-ai-rmf@1.0"),
        ("MEASURE", "nist-ai-rmf@1.0"),
        ("MANAGE", "nist-ai-rmf@1.0"),
        ("CWE", "cwe@4.18"),
        ("SLSA", "slsa@1.2"),
        ("ETSI", "etsi-en-304-223@2.1.1"),
        ("C", "owasp-aisvs@1.0"),
    ];
    let list = lists.into_iter().find(|(start, _)| id.starts_with(start));
    list.map_or_else(|| format!("?:{id}"), |(_, list)| format!("{list}:{id}"))
}

fn max_age(age: MaxAge) -> String {
    match age {
        MaxAge::Days { days } => days.to_string(),
        MaxAge::Per { per } => format!("per {}", per.as_str().replace('-', " ")),
    }
}

/// `continuous-input classifier` in the table is `continuous-input and classifier`; names of facts have no spaces.
fn applies(short: &str) -> &str {
    match short {
        "continuous-input classifier" => "continuous-input and classifier",
        "third-party base" => "third-party-base",
        "affects people" => "affects-people",
        other => other,
    }
}

#[test]
fn the_catalogue_is_the_acceptance_table() {
    let catalogue = catalogue();
    let rows = csv(&read("testdata/assess/acceptance.csv"));
    assert_eq!((catalogue.controls().count(), rows.len()), (140, 140));
    let mut wrong = Vec::new();
    for row in &rows {
        let id = row["id"].as_str();
        let Some(control) = catalogue.control(id) else {
            wrong.push(format!("{id} is missing"));
            continue;
        };
        let mut maps: Vec<String> = control.maps.iter().map(ToString::to_string).collect();
        maps.sort();
        // Ranges, bare categories and lists without ids of their own were expanded by hand: only their framework is compared.
        let by_hand = |id: &str| ["nist-ai-rmf", "slsa", "etsi", "eu-ai-act"].iter().any(|list| id.starts_with(list));
        let exact = |ids: &[String]| ids.iter().filter(|id| !by_hand(id)).cloned().collect::<Vec<_>>().join(" ");
        let lists = |ids: &[String]| {
            let mut lists: Vec<String> =
                ids.iter().map(|id| MapId::parse(id).map_or_else(|| id.clone(), |id| id.list())).collect();
            lists.dedup();
            lists.join(" ")
        };
        let expected = expanded(&row["framework_ids"]);
        for (column, wanted, found) in [
            ("severity", row["severity"].clone(), control.severity.to_string()),
            ("lifecycle_stage", row["lifecycle_stage"].clone(), control.stage.to_string()),
            ("verification", row["verification"].clone(), control.verification.to_string()),
            ("max_age_days", row["max_age_days"].clone(), max_age(control.max_age)),
            ("applies", applies(&row["applies"]).to_owned(), control.applies.to_string()),
            ("framework_ids", exact(&expected), exact(&maps)),
            ("frameworks", lists(&expected), lists(&maps)),
        ] {
            // GOV-07 keeps the mappings themselves; the table says `all`, which is no id.
            if wanted != found && !(id == "GOV-07" && column.starts_with("framework")) {
                wrong.push(format!("{id} {column}: the table says `{wanted}`, the control `{found}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn weights_and_verification_are_as_counted() {
    let catalogue = catalogue();
    let weight = |filter: &dyn Fn(&str) -> bool| -> u64 {
        let controls = catalogue.controls().filter(|control| filter(control.verification.as_str()));
        controls.map(|control| casemate_assess::control::weight(control.severity)).sum()
    };
    assert_eq!(weight(&|_| true), 645);
    assert_eq!(weight(&|verification| !verification.contains('P')), 579);
}

#[test]
fn every_fact_is_asked_for_and_every_kind_is_used() {
    let catalogue = catalogue();
    let asked: Vec<&Field> = catalogue.controls().flat_map(|control| control.applies.fields()).collect();
    for name in facts::NAMES {
        assert!(asked.contains(&&Field::Fact(name.into())), "no control depends on `{name}`");
    }
    let checks: Vec<&str> =
        catalogue.controls().flat_map(|control| &control.checks).map(|check| check.evidence.as_str()).collect();
    // What is read besides: facts by the assessment; approvals, attestations and sealings by the probes of kinds that controls
    // read; events of a watch by people.
    let besides = [
        KIND_FOUND,
        KIND_DECLARED,
        "provenance.baseline-approval",
        "provenance.attestation-record",
        "provenance.integrity-event",
        "provenance.seal",
    ];
    for (kind, _) in catalogue.kinds().filter(|(kind, _)| !besides.contains(kind)) {
        assert!(checks.contains(&kind), "no control reads `{kind}`");
    }
}

#[test]
fn a_project_nobody_looked_at_scores_nothing_and_says_how_to_look() {
    let catalogue = catalogue();
    let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let situation = Situation::at(now);
    let assessment = assess(&catalogue, &[], &situation);
    assert_eq!((assessment.score.value, assessment.score.unknown), (0, 140));
    for control in &assessment.controls {
        assert!(control.reason.contains("`casemate "), "{}: {}", control.id, control.reason);
    }
    assert!(!assessment.next_actions(&catalogue, &situation, 5).is_empty());
    let verdict = casemate_assess::gate::decide(catalogue.gates(), GateStage::Merge, &assessment);
    assert_eq!(verdict.exit_code, 3);
}
