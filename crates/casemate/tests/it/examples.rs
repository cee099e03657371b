//! The two example projects: what a newcomer runs first.

use super::{casemate, example};

#[test]
fn the_sound_example_passes_its_gate_and_prints_score_coverage_and_categories() {
    let digits = example("digits");
    let run = casemate(digits.path(), &["check", "--format", "text"]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    for word in ["Score", "coverage", "Supply chain", "Data poisoning", "SUP-01"] {
        assert!(run.stdout.contains(word), "{word} in {}", run.stdout);
    }
}

#[test]
fn checking_twice_gives_the_same_score_and_a_ledger_that_verifies() {
    let digits = example("digits");
    let first = casemate(digits.path(), &["check", "--format", "json"]).json();
    let second = casemate(digits.path(), &["check", "--format", "json"]).json();
    for key in ["value", "cap", "failing", "unknown", "not_applicable"] {
        assert_eq!(first["score"][key], second["score"][key], "{key}");
    }
    let states = |report: &serde_json::Value| -> Vec<_> {
        report["controls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|control| (control["id"].clone(), control["state"].clone()))
            .collect()
    };
    assert_eq!(states(&first), states(&second));
    let verified = casemate(digits.path(), &["ledger", "verify"]);
    assert_eq!(verified.code, 0, "{}", verified.stdout);
    assert!(verified.stdout.starts_with("intact"), "{}", verified.stdout);
}

#[test]
fn the_report_is_written_whole_in_every_format() {
    let digits = example("digits");
    for (file, begins) in [
        ("report.html", "<!DOCTYPE html>"),
        ("report.json", "{"),
        ("report.md", "#"),
        ("report.sarif", "{"),
        ("report.csv", "id,"),
        ("report.svg", "<svg"),
    ] {
        let run = casemate(digits.path(), &["check", "-o", file]);
        assert_eq!(run.code, 0, "{file}: {}", run.stderr);
        let text = std::fs::read_to_string(digits.path().join(file)).unwrap();
        assert!(text.starts_with(begins), "{file}: {}", text.chars().take(60).collect::<String>());
    }
    let leftovers: Vec<_> = std::fs::read_dir(digits.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(leftovers.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{leftovers:?}");
}

#[test]
fn the_trojaned_example_fails_and_every_planted_thing_is_named() {
    let trojaned = example("trojaned");
    let run = casemate(trojaned.path(), &["check", "--format", "json"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    let report = run.json();
    let found = |rule: &str, path: &str| {
        let findings = report["findings"].as_array().unwrap();
        findings.iter().any(|finding| finding["rule"] == rule && finding["location"]["path"] == path)
    };
    assert!(found("pickle-unvetted-call", "model/model.pt"));
    assert!(found("path-escape", "model/model.onnx"));
    assert!(found("template-injection", "model/tokenizer_config.json"));
    assert!(found("template-injection", "model/chat.gguf"));
    let clean = |path: &str| {
        report["artifacts"]
            .as_array()
            .unwrap()
            .iter()
            .any(|artifact| artifact["path"] == path && artifact["verdict"] == "clean")
    };
    assert!(clean("model/model.safetensors"), "a benign file among bad ones stays clean");
    let control = |id: &str| {
        report["controls"].as_array().unwrap().iter().find(|control| control["id"] == id).unwrap()["state"].clone()
    };
    assert_eq!(control("SUP-01"), "fail");
    assert_eq!(control("SUP-02"), "fail");
    assert_eq!(report["outcome"], "fail");
}

#[test]
fn a_declaration_does_not_hide_what_is_found() {
    // The trojaned project declares that it is no language model; its files carry chat templates.
    let trojaned = example("trojaned");
    let report = casemate(trojaned.path(), &["check", "--format", "json"]).json();
    let llm = report["controls"].as_array().unwrap().iter().find(|control| control["id"] == "LLM-01").unwrap().clone();
    assert_ne!(llm["state"], "not-applicable");
    assert!(report["facts"]["conflicts"].as_array().unwrap().iter().any(|conflict| conflict["fact"] == "llm"));
}

#[test]
fn a_project_that_declares_nothing_scores_nothing_and_every_control_is_open() {
    let empty = tempfile::tempdir().unwrap();
    let report = casemate(empty.path(), &["check", "--format", "json"]);
    assert_eq!(report.code, 3, "nothing to scan is not a pass: {}", report.stderr);
    let report = report.json();
    assert_eq!(report["score"]["not_applicable"], 0);
    assert!(report["score"]["value"].as_u64().unwrap() <= 1);
}

#[test]
fn the_gate_of_a_later_stage_stays_shut_and_says_what_is_unknown() {
    let digits = example("digits");
    casemate(digits.path(), &["check"]);
    let gate = casemate(digits.path(), &["gate", "--stage", "release"]);
    assert_eq!(gate.code, 1, "{}", gate.stdout);
    assert!(gate.stdout.contains("SUP-12"), "{}", gate.stdout);
    assert_eq!(casemate(digits.path(), &["gate", "--stage", "merge"]).code, 0);
    assert_eq!(casemate(digits.path(), &["gate", "--stage", "lunch"]).code, 2);
}

#[test]
fn a_changed_model_makes_its_evidence_worthless_until_it_is_checked_again() {
    let digits = example("digits");
    casemate(digits.path(), &["check"]);
    let state = |directory: &std::path::Path| {
        let report = casemate(directory, &["assess", "--format", "json"]).json();
        report["controls"].as_array().unwrap().iter().find(|control| control["id"] == "SUP-01").unwrap()["state"]
            .clone()
    };
    assert_eq!(state(digits.path()), "pass");
    let config = digits.path().join("model/config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n")).unwrap();
    assert_ne!(state(digits.path()), "pass");
    casemate(digits.path(), &["check"]);
    assert_eq!(state(digits.path()), "pass");
}

#[test]
fn every_term_of_the_score_is_explained_and_the_sum_is_the_score() {
    let digits = example("digits");
    let score = casemate(digits.path(), &["check", "--format", "json"]).json()["score"]["value"].clone();
    let explained = casemate(digits.path(), &["assess", "--explain"]).stdout;
    assert!(explained.contains("SUP-01"), "{explained}");
    assert_eq!(explained.trim_end().lines().last().unwrap().split_whitespace().last().unwrap(), score.to_string());
    let control = casemate(digits.path(), &["controls", "explain", "sup-01"]);
    assert_eq!(control.code, 0);
    assert!(control.stdout.contains("here         pass"), "{}", control.stdout);
}

#[test]
fn init_writes_a_configuration_that_check_accepts() {
    let project = tempfile::tempdir().unwrap();
    super::copy(&super::repository().join("examples/digits/model"), &project.path().join("weights"));
    let run = casemate(project.path(), &["init"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let text = std::fs::read_to_string(project.path().join("casemate.toml")).unwrap();
    assert!(text.contains("path = \"weights\""), "{text}");
    assert_eq!(casemate(project.path(), &["check"]).code, 0);
    let again = casemate(project.path(), &["init"]);
    assert_eq!(again.code, 0);
    assert!(again.stderr.contains("stays as it is"), "{}", again.stderr);
}
