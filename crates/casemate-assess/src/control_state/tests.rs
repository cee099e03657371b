//! The rules of states and credit, one by one.

use casemate_core::{Evidence, Fact, Input, Outcome, Record};

use super::*;
use crate::fixture::{self, ControlText, NOW, digest, evidence, passing};
use crate::situation::Dataset;

fn judged_in(situation: &Situation, control: ControlText, evidence: &[Evidence]) -> ControlState {
    let catalogue = fixture::catalogue(&[control]);
    let records: Vec<Record> = evidence.iter().cloned().map(fixture::record).collect();
    let facts = SystemFacts::gather(&records, situation.now);
    let judge = Judge::new(&catalogue, &records, &facts, situation);
    let control = catalogue.controls().next().unwrap();
    judge.control(control, situation.models.first())
}

fn judged(control: ControlText, evidence: &[Evidence]) -> ControlState {
    judged_in(&fixture::situation(), control, evidence)
}

fn state(control: ControlText, evidence: &[Evidence]) -> (State, u64) {
    let judged = judged(control, evidence);
    (judged.state, judged.credit_ppm)
}

fn scan() -> ControlText {
    ControlText::new("SUP-01")
}

fn aged(mut evidence: Evidence, days: i64) -> Evidence {
    evidence.finished_at = NOW().plus_days(-days);
    evidence.started_at = evidence.finished_at;
    evidence
}

fn decision(control: &str, outcome: Outcome) -> Evidence {
    let mut decision = evidence("person.decision", outcome);
    decision.facts.insert("control".into(), Fact::Text(control.into()));
    decision
}

fn both(verification: &str) -> ControlText {
    let method = verification.split(['+', '/']).next().unwrap();
    scan().verification(verification).method(method).kind("redteam.attack").and("person.decision", "model", "P")
}

fn attack(outcome: Outcome, method: Method) -> Evidence {
    Evidence { method, ..evidence("redteam.attack", outcome) }
}

#[test]
fn nothing_recorded_is_unknown_and_names_the_command() {
    let judged = judged(scan(), &[]);
    assert_eq!((judged.state, judged.credit_ppm), (State::Unknown, 0));
    assert_eq!(judged.reason, "no `artifact.scan` evidence about model `digits`: run `casemate scan PATH`");
}

#[test]
fn a_pass_earns_everything_and_names_its_record() {
    let pass = passing("artifact.scan");
    let judged = judged(scan(), std::slice::from_ref(&pass));
    assert_eq!((judged.state, judged.credit_ppm, judged.fresh), (State::Pass, PPM, true));
    assert_eq!(judged.evidence, [fixture::record(pass.clone()).id]);
    assert_eq!(judged.oldest_evidence, Some(pass.finished_at));
}

#[test]
fn an_unknown_run_is_unknown_even_where_the_predicate_would_hold() {
    let mut run = evidence("artifact.scan", Outcome::Unknown);
    run.reason = Some("encrypted member".into());
    run.facts.insert("files".into(), Fact::Count(1));
    let judged = judged(scan().pass("facts.files >= 1"), &[run]);
    assert_eq!(judged.state, State::Unknown);
    assert_eq!(judged.reason, "`artifact.scan` could not tell: encrypted member: run `casemate scan PATH`");
}

#[test]
fn a_missing_field_is_unknown_and_named() {
    let judged = judged(scan().pass("facts.files >= 1"), &[passing("artifact.scan")]);
    assert_eq!(judged.state, State::Unknown);
    assert!(judged.reason.contains("`facts.files >= 1` (files missing)"), "{}", judged.reason);
}

#[test]
fn passes_expire_and_failures_do_not() {
    for (days, expected) in
        [(7, (State::Pass, PPM)), (10, (State::Stale, 571_428)), (14, (State::Stale, 0)), (900, (State::Stale, 0))]
    {
        assert_eq!(state(scan(), &[aged(passing("artifact.scan"), days)]), expected, "{days} days");
    }
    let old_fail = aged(evidence("artifact.scan", Outcome::Fail), 900);
    assert_eq!(state(scan(), &[old_fail]), (State::Fail, 0));
}

#[test]
fn the_latest_record_counts() {
    let (old_pass, old_fail) = (aged(passing("artifact.scan"), 3), aged(evidence("artifact.scan", Outcome::Fail), 3));
    assert_eq!(state(scan(), &[evidence("artifact.scan", Outcome::Fail), old_pass]).0, State::Fail);
    assert_eq!(state(scan(), &[passing("artifact.scan"), old_fail]).0, State::Pass);
}

#[test]
fn an_unknown_run_clears_a_pass_and_never_a_fail() {
    let unknown = evidence("artifact.scan", Outcome::Unknown);
    assert_eq!(state(scan(), &[aged(passing("artifact.scan"), 1), unknown.clone()]).0, State::Unknown);
    assert_eq!(state(scan(), &[aged(evidence("artifact.scan", Outcome::Fail), 1), unknown]).0, State::Fail);
}

#[test]
fn only_the_probe_that_failed_clears_its_fail() {
    let fail = aged(evidence("artifact.scan", Outcome::Fail), 1);
    let mut other = passing("artifact.scan");
    other.probe.id = "another-scanner".into();
    assert_eq!(state(scan(), &[fail.clone(), other.clone()]).0, State::Fail);
    assert_eq!(state(scan(), &[fail, other, passing("artifact.scan")]).0, State::Pass);
}

#[test]
fn evidence_about_another_digest_is_no_evidence() {
    let mut other = passing("artifact.scan");
    other.subject.digest = digest(42);
    assert_eq!(state(scan(), &[other.clone()]).0, State::Unknown);
    other.outcome = Outcome::Fail;
    assert_eq!(state(scan(), &[passing("artifact.scan"), other]).0, State::Pass);
}

#[test]
fn every_dataset_must_pass() {
    let control = || scan().kind("data.check").subject("dataset");
    let mut situation = fixture::situation();
    assert_eq!(judged_in(&situation, control(), &[passing("data.check")]).state, State::Pass);
    situation.datasets.push(Dataset { name: "heldout".into(), digest: digest(5) });
    let judged = judged_in(&situation, control(), &[passing("data.check")]);
    assert_eq!(judged.state, State::Unknown);
    assert!(judged.reason.contains("dataset `heldout`"));
    situation.datasets.clear();
    assert!(judged_in(&situation, control(), &[]).reason.starts_with("no dataset is declared"));
}

#[test]
fn every_route_with_evidence_must_pass_whatever_its_digest() {
    let control = || scan().kind("route.probe").subject("route").method("C").verification("C");
    let mut other = evidence("route.probe", Outcome::Fail);
    other.subject.name = "/v2".into();
    assert_eq!(state(control(), &[passing("route.probe")]).0, State::Pass);
    let failed = judged(control(), &[passing("route.probe"), other.clone()]);
    assert_eq!((failed.state, failed.checks[0].subject_name.as_deref()), (State::Fail, Some("/v2")));
    let mut mended = aged(passing("route.probe"), 0);
    mended.subject.name = "/v2".into();
    mended.subject.digest = digest(99);
    assert_eq!(state(control(), &[passing("route.probe"), aged(other, 1), mended]).0, State::Pass);
}

#[test]
fn catalogue_evidence_must_be_about_the_current_catalogue() {
    let control = || scan().kind("sign.verify").subject("catalogue");
    let mut run = passing("sign.verify");
    run.subject.kind = SubjectKind::Catalogue;
    let mut situation = fixture::situation();
    situation.inputs.insert("catalogue".into(), [run.subject.digest].into());
    assert_eq!(judged_in(&situation, control(), &[run.clone()]).state, State::Pass);
    situation.inputs.insert("catalogue".into(), [digest(60)].into());
    assert_eq!(judged_in(&situation, control(), &[run]).state, State::Unknown);
}

#[test]
fn evidence_that_rests_on_changed_rules_is_stale_at_once_and_earns_nothing() {
    for name in ["rules", "catalogue", "advisories"] {
        let mut run = passing("artifact.scan");
        run.inputs.push(Input { name: name.into(), digest: digest(50) });
        run.inputs.push(Input { name: "corpus".into(), digest: digest(51) });
        let mut situation = fixture::situation();
        assert_eq!(judged_in(&situation, scan(), &[run.clone()]).state, State::Stale, "not comparable");
        situation.inputs.insert(name.into(), [digest(50), digest(49)].into());
        assert_eq!(judged_in(&situation, scan(), &[run.clone()]).state, State::Pass);
        situation.inputs.insert(name.into(), [digest(49)].into());
        let stale = judged_in(&situation, scan(), &[run.clone()]);
        assert_eq!((stale.state, stale.credit_ppm, stale.fresh), (State::Stale, 0, false));
        assert!(stale.reason.contains(&format!("rests on `{name}` that changed since")));
        run.outcome = Outcome::Fail;
        assert_eq!(judged_in(&situation, scan(), &[run]).state, State::Fail);
    }
}

#[test]
fn evidence_from_the_future_is_unknown() {
    let mut run = passing("artifact.scan");
    run.finished_at = Timestamp::from_unix_ms(NOW().unix_ms() + 300_000);
    assert_eq!(state(scan(), &[run.clone()]).0, State::Pass);
    run.finished_at = Timestamp::from_unix_ms(NOW().unix_ms() + 300_001);
    assert_eq!(state(scan(), &[run.clone()]).0, State::Unknown);
    run.finished_at = NOW().plus_days(-2);
    assert_eq!(state(scan(), &[run]).0, State::Unknown, "ends before it begins");
}

#[test]
fn evidence_per_event_does_not_expire() {
    let control = scan().max_age("{ per = \"model-digest\" }");
    assert_eq!(state(control, &[aged(passing("artifact.scan"), 4_000)]), (State::Pass, PPM));
}

#[test]
fn evidence_per_model_digest_about_a_dataset_must_name_the_model() {
    let control = || scan().max_age("{ per = \"model-digest\" }").kind("data.check").subject("dataset");
    let mut run = passing("data.check");
    assert_eq!(state(control(), &[run.clone()]), (State::Stale, 0));
    run.inputs.push(Input { name: "model".into(), digest: digest(1) });
    assert_eq!(state(control(), &[run]), (State::Pass, PPM));
}

#[test]
fn evidence_by_another_method_does_not_count() {
    let attested = Evidence { method: Method::P, ..passing("artifact.scan") };
    assert_eq!(state(scan(), &[attested]).0, State::Unknown);
}

#[test]
fn every_check_of_a_control_must_pass() {
    let control = || scan().and("sign.verify", "model", "A");
    assert_eq!(state(control(), &[passing("artifact.scan")]), (State::Unknown, 0));
    let failed = [passing("artifact.scan"), evidence("sign.verify", Outcome::Fail)];
    assert_eq!(state(control(), &failed), (State::Fail, 0));
    let one_old = [aged(passing("artifact.scan"), 10), passing("sign.verify")];
    assert_eq!(state(control(), &one_old), (State::Stale, 571_428));
}

#[test]
fn a_decision_alone_earns_half_where_only_a_person_decides() {
    let control = scan().verification("P").method("P").kind("person.decision");
    assert_eq!(state(control, &[decision("SUP-01", Outcome::Pass)]), (State::Pass, PPM / 2));
}

#[test]
fn a_decision_speaks_for_the_control_it_names_only() {
    let control = || scan().verification("P").method("P").kind("person.decision");
    assert_eq!(state(control(), &[decision("SUP-02", Outcome::Pass)]).0, State::Unknown);
    assert_eq!(state(control(), &[passing("person.decision")]).0, State::Unknown);
}

#[test]
fn machine_and_decision_are_both_needed_and_a_decision_alone_earns_nothing() {
    for (verification, method) in [("A+P", Method::A), ("C+P", Method::C)] {
        let (machine, person) = (attack(Outcome::Pass, method), decision("SUP-01", Outcome::Pass));
        assert_eq!(state(both(verification), &[machine.clone(), person.clone()]), (State::Pass, PPM));
        assert_eq!(state(both(verification), &[machine]), (State::Unknown, 0));
        assert_eq!(state(both(verification), &[person]), (State::Unknown, 0));
    }
    let control = scan().verification("A+C").and("route.probe", "route", "C");
    assert_eq!(state(control.clone(), &[passing("artifact.scan")]), (State::Unknown, 0));
    assert_eq!(state(control, &[passing("artifact.scan"), passing("route.probe")]), (State::Pass, PPM));
}

#[test]
fn a_person_stands_in_only_where_the_machine_cannot() {
    for (verification, method) in [("A/P", Method::A), ("C/P", Method::C)] {
        let person = decision("SUP-01", Outcome::Pass);
        let machine = |outcome| attack(outcome, method);
        let state = |evidence: &[Evidence]| state(both(verification), evidence);
        assert_eq!(state(&[machine(Outcome::Pass)]), (State::Pass, PPM));
        assert_eq!(state(&[machine(Outcome::Pass), person.clone()]), (State::Pass, PPM));
        assert_eq!(state(&[machine(Outcome::Unknown), person.clone()]), (State::Pass, PPM / 2));
        assert_eq!(state(&[machine(Outcome::Fail), person.clone()]), (State::Fail, 0));
        assert_eq!(state(&[machine(Outcome::Unknown)]), (State::Unknown, 0));
        // Not running a probe that could run must not pay better than failing it.
        assert_eq!(state(std::slice::from_ref(&person)), (State::Unknown, 0));
        let mut situation = fixture::situation();
        situation.kinds_available.remove("redteam.attack");
        let judged = judged_in(&situation, both(verification), &[person]);
        assert_eq!((judged.state, judged.credit_ppm), (State::Pass, PPM / 2));
    }
}

#[test]
fn not_applicable_only_by_an_established_fact() {
    let mut facts = passing("project.facts");
    facts.subject.kind = SubjectKind::Project;
    let control = || scan().applies("llm");
    assert_eq!(state(control(), &[facts.clone()]).0, State::Unknown);
    facts.facts.insert("llm".into(), Fact::Bool(false));
    let judged = judged(control(), &[facts, evidence("artifact.scan", Outcome::Fail)]);
    assert_eq!((judged.state, judged.is_applicable()), (State::NotApplicable, false));
    assert_eq!(judged.reason, "does not apply: `llm` (is false)");
}

#[test]
fn a_waiver_covers_what_is_open_and_earns_nothing() {
    let mut situation = fixture::situation();
    situation.waivers = fixture::waivers("SUP-01", "digits");
    let waived = judged_in(&situation, scan(), &[evidence("artifact.scan", Outcome::Fail)]);
    assert_eq!((waived.state, waived.beneath, waived.credit_ppm), (State::Waived, State::Fail, 0));
    assert!(waived.reason.contains("ada") && waived.reason.contains("beneath it fail"), "{}", waived.reason);
    let stale = judged_in(&situation, scan(), &[aged(passing("artifact.scan"), 10)]);
    assert_eq!((stale.state, stale.credit_ppm, stale.waiver.is_some()), (State::Stale, 571_428, true));
    let passed = judged_in(&situation, scan(), &[passing("artifact.scan")]);
    assert_eq!((passed.state, passed.waiver), (State::Pass, None));
    situation.waivers = fixture::waivers("SUP-01", "another");
    assert_eq!(judged_in(&situation, scan(), &[]).state, State::Unknown);
}

#[test]
fn a_run_under_a_fast_clock_does_not_outlast_the_runs_after_it() {
    let mut ahead = passing("artifact.scan");
    ahead.finished_at = NOW().plus_days(40);
    ahead.started_at = ahead.finished_at;
    let catalogue = fixture::catalogue(&[scan()]);
    let situation = fixture::situation();
    let judge_all = |records: &[Record]| {
        let facts = SystemFacts::gather(records, situation.now);
        let judge = Judge::new(&catalogue, records, &facts, &situation);
        judge.control(catalogue.controls().next().unwrap(), situation.models.first()).state
    };
    let first = Record { index: 0, ..fixture::record(ahead) };
    let second = Record { index: 1, ..fixture::record(passing("artifact.scan")) };
    assert_eq!(judge_all(std::slice::from_ref(&first)), State::Unknown);
    assert_eq!(judge_all(&[second.clone(), first.clone()]), State::Pass);
    assert_eq!(judge_all(&[first, second]), State::Pass);
}
