//! Reports for tests: the real catalogue with made-up records, and a scan.

use std::collections::BTreeMap;

use casemate_artifact::Verdict;
use casemate_assess::gate::{self, GateStage};
use casemate_assess::{Model, ModelStage, Situation, assess};
use casemate_core::{
    Confidence, Digest, Evidence, Fact, Finding, Location, Measurement, Meta, Method, Outcome, Probe, Record, Severity,
    Subject, SubjectKind, Timestamp,
};

use crate::report::{ArtifactReport, DigestSet, Posture, Report, ReportSubject};

/// Strings of an attacker, each of which breaks out of some format when it is not escaped.
pub const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "innocent\u{202e}tp.exe",
    "a|b`c*d",
    "line\r\nbreak",
    "=cmd|' /C calc'!A0",
    "\"><img src=x onerror=alert(1)>",
    "[click](https://evil.example)\u{9b}31m@team #1 {0}",
];

/// A rule with its description.
pub static RULE: Meta = Meta {
    id: "pickle-unsafe-global",
    title: "pickle imports something that runs code, opens files or reaches the network",
    description: "Loading the pickle imports the name and, where it is called, runs it with arguments the file chose.",
    severity: Severity::Critical,
    confidence: Confidence::High,
    controls: &["SUP-01", "SUP-02"],
    references: &["CWE-502", "https://docs.python.org/3/library/pickle.html#restricting-globals"],
    remediation: "do not load the file; get the model from its publisher in safetensors or ONNX",
};

pub fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub fn finding(rule: &str, severity: Severity, path: &str, member: Option<&str>, message: &str) -> Finding {
    Finding {
        rule: rule.into(),
        severity,
        confidence: Confidence::High,
        message: message.into(),
        location: Location { path: path.into(), member: member.map(Into::into), offset: Some(123), line: None },
        controls: vec!["SUP-01".into(), "SUP-02".into()],
        references: vec!["CWE-502".into(), "https://docs.python.org/3/library/pickle.html".into()],
        remediation: RULE.remediation.into(),
        accepted: None,
    }
}

fn file(path: &str, format: &'static str, verdict: Verdict, findings: Vec<Finding>) -> ArtifactReport {
    ArtifactReport {
        path: path.into(),
        member: None,
        size: 46_812_345,
        digest: Some(DigestSet { sha256: Digest([7; 32]) }),
        format: format.into(),
        verdict,
        findings,
        findings_left_out: 0,
        imports: vec!["torch._utils._rebuild_tensor_v2".into(), "collections.OrderedDict".into()],
        objects: BTreeMap::from([(format.into(), 1), ("pickle".into(), 1)]),
        tensors: 42,
        registration: None,
        bytes_fetched: None,
    }
}

fn subject(name: &str) -> ReportSubject {
    ReportSubject { name: name.into(), digest: Some(DigestSet { sha256: Digest([3; 32]) }) }
}

/// A scan of a bad, a doubtful, an unreadable and some clean files.
pub fn scan() -> Report {
    let evil = "models/résumé/model.pt";
    let mut report = Report::new("scan", subject("models"), now());
    let mut bad = vec![
        finding(
            "pickle-unsafe-global",
            Severity::Critical,
            evil,
            Some("archive/data.pkl"),
            "imports and calls `os.system`, which runs shell commands",
        ),
        finding(
            "pickle-unsafe-global",
            Severity::Critical,
            evil,
            Some("archive/data.pkl"),
            "imports `builtins.eval`, which runs code",
        ),
    ];
    bad[1].location.offset = Some(512);
    let odd = "models/weights.safetensors";
    let mut unclaimed =
        finding("bytes-unclaimed", Severity::High, odd, None, "bytes 1024..4096 are not zero and belong to no tensor");
    unclaimed.remediation =
        "write the file again with the official library, and ask its publisher what the bytes are".into();
    let mut locked = finding(
        "content-encrypted",
        Severity::High,
        "models/locked.zip",
        Some("weights.bin"),
        "the member is encrypted",
    );
    locked.remediation = "unlock it and scan again".into();
    report.artifacts = vec![
        file("models/a.onnx", "onnx", Verdict::Clean, Vec::new()),
        file(evil, "torch-zip", Verdict::Malicious, bad),
        file(odd, "safetensors", Verdict::Suspicious, vec![unclaimed]),
        file("models/locked.zip", "zip", Verdict::Unscannable, vec![locked]),
        file("models/b.gguf", "gguf", Verdict::Clean, Vec::new()),
    ];
    report.findings = report.artifacts.iter().flat_map(|file| file.findings.clone()).collect();
    report.outcome = Outcome::Fail;
    report.summary.insert("files", 5.into());
    report
}

/// A scan that found nothing.
pub fn clean_scan() -> Report {
    let mut report = scan();
    report.artifacts.retain(|file| file.verdict == Verdict::Clean);
    report.findings.clear();
    report.outcome = Outcome::Pass;
    report
}

fn evidence(kind: &str, about: &Subject, outcome: Outcome, facts: &[(&str, Fact)]) -> Evidence {
    Evidence {
        kind: kind.into(),
        probe: Probe { id: kind.replace('.', "-"), version: "1".into() },
        subject: about.clone(),
        method: Method::A,
        outcome,
        reason: None,
        facts: facts.iter().map(|(name, value)| ((*name).into(), value.clone())).collect(),
        findings: Vec::new(),
        measurements: Vec::new(),
        inputs: Vec::new(),
        seed: None,
        actor: "casemate".into(),
        started_at: now().plus_days(-1),
        finished_at: now().plus_days(-1),
    }
}

fn records() -> Vec<Record> {
    let model = Subject { kind: SubjectKind::Model, name: "digits-cnn".into(), digest: Digest([9; 32]) };
    let project = Subject { kind: SubjectKind::Project, name: "digits".into(), digest: Digest([3; 32]) };
    let no = Fact::Bool(false);
    let found = [("llm", no.clone()), ("federated", no.clone()), ("generative", no), ("image", Fact::Bool(true))];
    let declared = [("served", Fact::Bool(true)), ("image", Fact::Bool(false)), ("eu", Fact::Bool(true))];
    let scanned = [("verdict", Fact::Text("malicious".into())), ("files_unsafe_format", Fact::Count(1))];
    let all = [
        evidence("project.facts", &project, Outcome::Pass, &found),
        evidence("system.declaration", &project, Outcome::Pass, &declared),
        evidence("artifact.scan", &model, Outcome::Fail, &scanned),
        evidence("ledger.verify", &project, Outcome::Fail, &[]),
        evidence("sign.verify", &model, Outcome::Fail, &[]),
    ];
    let record = |(n, evidence): (usize, Evidence)| {
        let id = casemate_provenance::sha256(&[u8::try_from(n).unwrap()]).to_string();
        Record { id, index: u64::try_from(n).unwrap(), evidence }
    };
    all.into_iter().enumerate().map(record).collect()
}

/// A check of a project with two models, with every state a control can have.
pub fn check() -> Report {
    let catalogue = crate::catalogue::built_in().unwrap();
    let records = records();
    let mut situation = Situation::at(now());
    situation.models = vec![
        Model { name: "digits-cnn".into(), digest: Digest([9; 32]), stage: Some(ModelStage::Staged) },
        Model { name: "digits-old".into(), digest: Digest([8; 32]), stage: Some(ModelStage::Retired) },
    ];
    situation.kinds_available = ["artifact.scan", "ledger.verify"].map(Into::into).into();
    let assessment = assess(&catalogue, &records, &situation);
    let actions = assessment.next_actions(&catalogue, &situation, 10);
    let unknown = assessment.unknown_by_capability(&catalogue, &situation);
    let verdict = gate::decide(catalogue.gates(), GateStage::Merge, &assessment);
    let mut posture = Posture::new(assessment, &catalogue);
    (posture.gate, posture.next_actions, posture.unknown) = (Some(verdict), actions, unknown);
    let mut report = Report::new("check", subject("digits"), now());
    report.artifacts = scan().artifacts;
    report.findings = scan().findings;
    report.outcome = Outcome::Fail;
    report.evidence = records.into_iter().map(|record| record.id).collect();
    report.measurements = vec![measurement()];
    settle(&mut posture);
    report.posture = Some(posture);
    report
}

fn measurement() -> Measurement {
    let mut measurement = Measurement::exact("robust_accuracy", 0.41, "fraction");
    measurement.n = 1000;
    measurement.interval95 = Some([0.38, 0.44]);
    measurement.attributes =
        [("attack", "pgd"), ("norm", "linf")].map(|(name, value)| (name.into(), value.into())).into();
    measurement
}

/// Gives some unknown controls the states that would need long records: pass, stale, waived.
fn settle(posture: &mut Posture) {
    use casemate_assess::State;
    let wanted = [(State::Pass, 24), (State::Stale, 3), (State::Waived, 2)];
    let states = wanted.into_iter().flat_map(|(state, n)| std::iter::repeat_n(state, n));
    let open =
        posture.controls.iter_mut().zip(&mut posture.states).filter(|(control, _)| control.state == State::Unknown);
    for ((control, behind), state) in open.step_by(3).zip(states) {
        (control.state, behind.state) = (state, state);
        control.evidence = vec!["ab".repeat(32)];
        match state {
            State::Pass => (control.credit, control.reason) = (1.0, "every check passed".into()),
            State::Stale => control.reason = "evidence is 9 days old, 7 allowed".into(),
            _ => behind.waiver = Some("waived until 2026-12-21 by ada, approved by grace: legacy loader".into()),
        }
    }
    let count = |state| posture.controls.iter().filter(|control| control.state == state).count();
    let (unknown, stale, waived) = (count(State::Unknown), count(State::Stale), count(State::Waived));
    let score = &mut posture.score;
    (score.unknown, score.stale, score.waived) = (unknown, stale, waived);
    (score.value, score.coverage) = (17, 0.213);
}

/// `report` with every string that a file or a person may supply replaced by one of [`HOSTILE`].
pub fn poisoned(mut report: Report) -> Report {
    let mut n = 0;
    let mut next = |text: &mut String| {
        *text = HOSTILE[n % HOSTILE.len()].to_owned();
        n += 1;
    };
    next(&mut report.subject.name);
    for finding in &mut report.findings {
        next(&mut finding.message);
        next(&mut finding.location.path);
        finding.location.member.iter_mut().for_each(&mut next);
        next(&mut finding.remediation);
        finding.references.iter_mut().for_each(&mut next);
    }
    for text in HOSTILE {
        let mut extra = finding("custom-rule", Severity::Low, text, Some(text), text);
        extra.remediation = text.to_owned();
        report.findings.push(extra.clone());
        report.artifacts.push(file(text, "unknown", Verdict::Suspicious, vec![extra]));
    }
    for measurement in &mut report.measurements {
        next(&mut measurement.name);
        next(&mut measurement.unit);
        measurement.attributes = BTreeMap::from([(HOSTILE[0].into(), HOSTILE[1].into())]);
    }
    let Some(posture) = &mut report.posture else { return report };
    posture.controls.iter_mut().for_each(|control| next(&mut control.reason));
    posture.states.iter_mut().filter_map(|state| state.waiver.as_mut()).for_each(&mut next);
    posture.models.iter_mut().filter_map(|model| model.name.as_mut()).for_each(&mut next);
    posture.scored_model.iter_mut().for_each(&mut next);
    posture.facts.conflicts.iter_mut().for_each(|conflict| next(&mut conflict.fact));
    posture.gate.iter_mut().flat_map(|gate| &mut gate.requirements).for_each(|one| next(&mut one.detail));
    posture.gate.iter_mut().for_each(|gate| gate.loosened = HOSTILE.map(Into::into).into());
    posture.next_actions.iter_mut().for_each(|action| next(&mut action.text));
    report
}
