//! Waivers open gates and never move the score.

use super::{casemate, example};

#[test]
fn a_waiver_opens_the_gate_and_leaves_the_score_alone() {
    let trojaned = example("trojaned");
    let before = casemate(trojaned.path(), &["check", "--format", "json", "-q"]).json();
    let add = |control: &str, approver: &str| {
        casemate(
            trojaned.path(),
            &[
                "waiver",
                "add",
                control,
                "--reason",
                "sample",
                "--owner",
                "ada",
                "--approver",
                approver,
                "--compensating-control",
                "never loaded",
            ],
        )
    };
    add("SUP-01", "ada").is_one_clear_error(2, &["approves"]);
    assert_eq!(add("SUP-99", "grace").code, 2);
    assert_eq!(add("SUP-01", "grace").code, 0);
    assert_eq!(add("SUP-02", "grace").code, 0);
    assert_eq!(casemate(trojaned.path(), &["waiver", "lint"]).code, 0);
    let after = casemate(trojaned.path(), &["check", "--format", "json", "-q"]).json();
    assert_eq!(before["score"]["value"], after["score"]["value"]);
    assert_eq!(after["score"]["waived"], 2);
    assert_eq!(after["gate"]["outcome"], "pass", "{}", after["gate"]);
}

#[test]
fn a_waiver_that_breaks_a_rule_opens_nothing_and_lint_says_why() {
    let trojaned = example("trojaned");
    std::fs::create_dir(trojaned.path().join("waivers")).unwrap();
    let waiver = "[[waiver]]\ncontrol = \"SUP-01\"\nscope = \"*\"\nreason = \"r\"\nowner = \"a\"\napprover = \"b\"\n\
                  created = 2026-01-01\nexpires = 2026-02-01\ncompensating_control = \"c\"\n";
    std::fs::write(trojaned.path().join("waivers/old.toml"), waiver).unwrap();
    let lint = casemate(trojaned.path(), &["waiver", "lint"]);
    assert_eq!(lint.code, 1);
    assert!(lint.stdout.contains("expired"), "{}", lint.stdout);
    assert_eq!(casemate(trojaned.path(), &["check", "-q"]).code, 1);
}
