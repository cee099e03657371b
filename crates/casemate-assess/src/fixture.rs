//! Small catalogues and records for tests.
#![allow(non_snake_case, reason = "NOW() reads as the constant it stands for")]

use casemate_core::{
    Confidence, Digest, Evidence, Finding, Location, Method, Outcome, Probe, Record, Severity, Subject, SubjectKind,
    Timestamp,
};

use crate::catalogue::{Catalogue, CatalogueError, Sources};
use crate::control_state::{ControlState, PPM, State};
use crate::situation::{Dataset, Model, ModelStage, Situation};
use crate::waiver::{self, Waiver};

pub(crate) fn NOW() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub(crate) fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

const KINDS: &str = r#"
[kinds."artifact.scan"]
title = "files read"
command = "casemate scan PATH"
capability = "artifact"
[kinds."sign.verify"]
title = "signature checked"
command = "casemate verify MODEL"
capability = "provenance"
[kinds."data.check"]
title = "data checked"
command = "casemate data check DATASET"
capability = "data"
[kinds."route.probe"]
title = "route probed"
command = "casemate probe"
capability = "gateway"
[kinds."redteam.attack"]
title = "model attacked"
command = "casemate test MODEL"
capability = "redteam"
[kinds."person.decision"]
title = "a person's decision"
command = "casemate attest"
capability = "person"
"#;

const FRAMEWORK: &str = r#"
framework = "owasp-ml"
edition = "2023"
title = "OWASP Machine Learning Security Top Ten"
licence = "CC BY-SA 4.0"
source = "https://owasp.org/"
reviewed_on = 2026-11-21
[ids]
ML01 = "a"
ML02 = "b"
ML03 = "c"
ML04 = "d"
ML05 = "e"
ML06 = "f"
ML07 = "g"
ML08 = "h"
ML09 = "i"
ML10 = "j"
"#;

fn gates(required: &str) -> String {
    format!(
        "[gate.merge]\nfresh = true\nrequired = [{required}]\nfail_on = \"high\"\n\
         [gate.release]\nmin_score = 80\nno_zero_credit_critical = true\nfresh = true\nrequired = [{required}]\nfail_on = \"high\"\n\
         [gate.serve]\nmin_score = 80\n[gate.retire]\n"
    )
}

pub(crate) fn compile(controls: &[(String, String)]) -> Result<Catalogue, Vec<CatalogueError>> {
    let has = |id: &str| controls.iter().any(|(_, text)| text.contains(&format!("id = \"{id}\"\n")));
    let required: Vec<&str> = ["SUP-01", "SUP-02"].into_iter().filter(|id| has(id)).collect();
    let required = required.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(", ");
    Catalogue::compile(&Sources {
        controls,
        frameworks: &[("frameworks/owasp-ml-2023.toml".into(), FRAMEWORK.into())],
        kinds: ("kinds.toml", KINDS),
        gates: ("gates.toml", &gates(&required)),
        obligations: ("obligations.toml", "obligation = []"),
    })
}

pub(crate) fn catalogue(controls: &[ControlText]) -> Catalogue {
    let files: Vec<(String, String)> = controls.iter().map(ControlText::file).collect();
    compile(&files).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// The text of a control, with the parts a test cares about.
#[derive(Clone, Debug)]
pub(crate) struct ControlText {
    id: String,
    severity: String,
    category: String,
    verification: String,
    max_age: String,
    applies: Option<String>,
    checks: Vec<[String; 4]>,
    effort: String,
}

impl ControlText {
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            severity: "high".into(),
            category: "supply-chain".into(),
            verification: "A".into(),
            max_age: "{ days = 7 }".into(),
            applies: None,
            checks: vec![["artifact.scan", "model", "A", "outcome == pass"].map(String::from)],
            effort: "hours".into(),
        }
    }

    pub(crate) fn severity(mut self, severity: &str) -> Self {
        self.severity = severity.into();
        self
    }

    pub(crate) fn category(mut self, category: &str) -> Self {
        self.category = category.into();
        self
    }

    pub(crate) fn verification(mut self, verification: &str) -> Self {
        self.verification = verification.into();
        self
    }

    pub(crate) fn max_age(mut self, max_age: &str) -> Self {
        self.max_age = max_age.into();
        self
    }

    pub(crate) fn applies(mut self, applies: &str) -> Self {
        self.applies = Some(applies.into());
        self
    }

    pub(crate) fn applies_unless_set(mut self, applies: &str) -> Self {
        self.applies.get_or_insert_with(|| applies.into());
        self
    }

    pub(crate) fn effort(mut self, effort: &str) -> Self {
        self.effort = effort.into();
        self
    }

    pub(crate) fn kind(mut self, kind: &str) -> Self {
        self.checks[0][0] = kind.into();
        self
    }

    pub(crate) fn subject(mut self, subject: &str) -> Self {
        self.checks[0][1] = subject.into();
        self
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        self.checks[0][2] = method.into();
        self
    }

    pub(crate) fn pass(mut self, pass: &str) -> Self {
        self.checks[0][3] = pass.into();
        self
    }

    /// A further check like the first, with another predicate.
    pub(crate) fn with_check(mut self, pass: &str) -> Self {
        let mut check = self.checks[0].clone();
        check[3] = pass.into();
        self.checks.push(check);
        self
    }

    pub(crate) fn and(mut self, kind: &str, subject: &str, method: &str) -> Self {
        self.checks.push([kind, subject, method, "outcome == pass"].map(String::from));
        self
    }

    pub(crate) fn text(&self) -> String {
        let Self { id, severity, category, verification, max_age, effort, .. } = self;
        let applies = self.applies.as_deref().unwrap_or("all");
        let mut text = format!(
            "id = \"{id}\"\ntitle = \"t\"\nseverity = \"{severity}\"\nseverity_source = \"proposed\"\nstage = \"release\"\n\
             category = \"{category}\"\nverification = \"{verification}\"\nmax_age = {max_age}\napplies = \"{applies}\"\n\
             producers = [\"scan\"]\nasked_by = [\"x\"]\nstatement = \"s\"\nrationale = \"r\"\nmaps = [\"owasp-ml@2023:ML06\"]\n"
        );
        for [kind, subject, method, pass] in &self.checks {
            text += &format!(
                "[[check]]\nevidence = \"{kind}\"\nsubject = \"{subject}\"\nmethod = \"{method}\"\npass = \"{pass}\"\n"
            );
        }
        text + &format!(
            "[remediation]\ntext = \"mend {id}\"\ncommand = \"casemate scan PATH\"\neffort = \"{effort}\"\n"
        )
    }

    pub(crate) fn file(&self) -> (String, String) {
        (format!("controls/release/{}.toml", self.id), self.text())
    }
}

/// A record of `kind` about the model `digits` (or what the kind is about), an hour old.
pub(crate) fn evidence(kind: &str, outcome: Outcome) -> Evidence {
    let hour_ago = Timestamp::from_unix_ms(NOW().unix_ms() - 3_600_000);
    let (subject, name, n, method) = match kind {
        "data.check" => (SubjectKind::Dataset, "train", 2, Method::A),
        "route.probe" => (SubjectKind::Route, "/v1", 3, Method::C),
        "person.decision" => (SubjectKind::Model, "digits", 1, Method::P),
        _ => (SubjectKind::Model, "digits", 1, Method::A),
    };
    Evidence {
        kind: kind.into(),
        probe: Probe { id: kind.replace('.', "-"), version: "1".into() },
        subject: Subject { kind: subject, name: name.into(), digest: digest(n) },
        method,
        outcome,
        reason: None,
        facts: Default::default(),
        findings: Vec::new(),
        measurements: Vec::new(),
        inputs: Vec::new(),
        seed: None,
        actor: "test".into(),
        started_at: hour_ago,
        finished_at: hour_ago,
    }
}

pub(crate) fn passing(kind: &str) -> Evidence {
    evidence(kind, Outcome::Pass)
}

/// The record of `evidence`, with an id that depends on all of it.
pub(crate) fn record(evidence: Evidence) -> Record {
    let bytes = serde_json::to_vec(&evidence).unwrap();
    // FNV-1a: distinct ids for distinct test records is all that is needed.
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    Record { id: format!("{hash:016x}"), index: 0, evidence }
}

pub(crate) fn finding(severity: Severity, controls: &[&str]) -> Finding {
    Finding {
        rule: "pickle-unsafe-global".into(),
        severity,
        confidence: Confidence::High,
        message: "imports `os.system`".into(),
        location: Location::default(),
        controls: controls.iter().map(ToString::to_string).collect(),
        references: Vec::new(),
        remediation: "remove it".into(),
        accepted: None,
    }
}

pub(crate) fn model(name: &str, n: u8, stage: Option<ModelStage>) -> Model {
    Model { name: name.into(), digest: digest(n), stage }
}

/// One staged model `digits`, one dataset `train`, every kind available.
pub(crate) fn situation() -> Situation {
    let mut situation = Situation::at(NOW());
    situation.models.push(model("digits", 1, Some(ModelStage::Staged)));
    situation.datasets.push(Dataset { name: "train".into(), digest: digest(2) });
    let kinds = ["artifact.scan", "sign.verify", "data.check", "route.probe", "redteam.attack", "person.decision"];
    situation.kinds_available = kinds.map(String::from).into();
    situation
}

pub(crate) fn waivers(control: &str, scope: &str) -> Vec<Waiver> {
    let text = format!(
        "[[waiver]]\ncontrol = \"{control}\"\nscope = \"{scope}\"\nreason = \"r\"\nowner = \"ada\"\napprover = \"grace\"\n\
         created = 2026-11-01\nexpires = 2027-01-01\ncompensating_control = \"c\"\n"
    );
    waiver::parse("waivers.toml", &text).0
}

/// A state with nothing behind it.
pub(crate) fn state(id: &str, severity: Severity, credit_ppm: u64) -> ControlState {
    let state = if credit_ppm > 0 { State::Pass } else { State::Fail };
    ControlState {
        id: id.into(),
        severity,
        state,
        reason: String::new(),
        evidence: Vec::new(),
        credit_ppm,
        method_ppm: PPM,
        graded_ppm: PPM,
        freshness_ppm: credit_ppm,
        fresh: true,
        perhaps: false,
        oldest_evidence: None,
        beneath: state,
        waiver: None,
        checks: Vec::new(),
    }
}
