//! Evidence for tests.

use std::collections::BTreeMap;

use casemate_core::{
    Evidence, Fact, Finding, Input, Location, Measurement, Method, Outcome, Probe, Severity, Subject, SubjectKind,
    Timestamp,
};

use crate::hash::sha256;

/// The `n`-th record of a long series, each different.
pub(crate) fn evidence(n: u64) -> Evidence {
    let finding = Finding {
        rule: "pickle-unsafe-global".into(),
        severity: Severity::Critical,
        confidence: casemate_core::Confidence::High,
        message: format!("imports `os.system` \u{2028} \"{n}\""),
        location: Location { path: "model.pt".into(), offset: Some(n), ..Location::default() },
        controls: vec!["SUP-01".into()],
        references: vec!["CWE-502".into()],
        remediation: "use safetensors".into(),
        accepted: None,
    };
    let name = format!("model-{n}");
    let started_at = Timestamp::from_unix_ms(1_795_253_400_000 + i64::try_from(n).unwrap_or(0) * 1001);
    Evidence {
        kind: "artifact.scan".into(),
        probe: Probe { id: "scan".into(), version: "1".into() },
        subject: Subject { kind: SubjectKind::Model, digest: sha256(name.as_bytes()), name },
        method: Method::A,
        outcome: if n.is_multiple_of(3) { Outcome::Pass } else { Outcome::Fail },
        reason: (!n.is_multiple_of(3)).then(|| "a finding".into()),
        facts: BTreeMap::from([
            ("files_count".into(), Fact::Count(n)),
            ("ratio".into(), Fact::Number(0.5)),
            ("zip".into(), Fact::Bool(true)),
        ]),
        findings: if n.is_multiple_of(3) { Vec::new() } else { vec![finding] },
        measurements: vec![Measurement::exact("bytes", 1024.0, "bytes")],
        inputs: vec![Input { name: "rules".into(), digest: sha256(b"rules") }],
        seed: None,
        actor: "ci@example.com".into(),
        started_at,
        finished_at: Timestamp::from_unix_ms(started_at.unix_ms() + 500),
    }
}
