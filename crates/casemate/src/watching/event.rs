//! What changed in the state of a model: one line of JSON for programs, and one record for the ledger.

use std::path::Path;

use casemate_core::{
    Confidence, Evidence, Fact, Finding, Input, Location, Outcome, Severity, Subject, SubjectKind, Timestamp,
};
use casemate_provenance::sha256;
use serde_json::{Value, json};

use super::{FileDifference, Judgement, State};
use crate::gather::{self, KIND_INTEGRITY_EVENT};

/// Name and version of the line.
const SCHEMA: &str = "casemate.integrity-event/v1";

/// A change in the state of a model.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it was seen.
    pub time: Timestamp,
    /// The model's name.
    pub model: String,
    /// Where it is.
    pub path: String,
    /// Where its signature is.
    pub signature: String,
    /// Whether an earlier event said that it was not intact, and this one says that it is again.
    pub is_restored: bool,
    /// What is true now.
    pub judgement: Judgement,
}

/// What was last said of a model.
#[derive(Debug, Default)]
pub struct Known(Option<Judgement>);

impl Known {
    /// What has to be said of `judgement` after everything said before; nothing when it is no news.
    pub fn news(&mut self, judgement: Judgement, of: (&str, &Path, &Path), now: Timestamp) -> Option<Event> {
        let is_news = self.0.as_ref().is_none_or(|last| judgement.is_news_after(last));
        let was_bad = self.0.as_ref().is_some_and(|last| last.state != State::Intact);
        if !is_news {
            return None;
        }
        self.0 = Some(judgement.clone());
        let (model, path, signature) = of;
        Some(Event {
            time: now,
            model: model.into(),
            path: path.display().to_string(),
            signature: signature.display().to_string(),
            is_restored: was_bad && judgement.state == State::Intact,
            judgement,
        })
    }
}

impl Event {
    /// `intact`, `altered`, `unverifiable` or `restored`.
    pub fn state(&self) -> &'static str {
        match self.judgement.state {
            State::Intact if self.is_restored => "restored",
            State::Intact => "intact",
            State::Unverifiable => "unverifiable",
            State::Altered => "altered",
        }
    }

    /// Whether somebody should look at once.
    pub fn is_alert(&self) -> bool {
        self.judgement.state != State::Intact
    }

    /// One line of JSON, its end included.
    pub fn line(&self) -> String {
        let judgement = &self.judgement;
        let file = |file: &FileDifference| json!({"path": file.path, "how": file.how, "expected": file.expected, "found": file.found});
        let value = json!({
            "schema": SCHEMA,
            "time": self.time,
            "model": self.model,
            "path": self.path,
            "state": self.state(),
            "reason": judgement.reason,
            "files": judgement.files.iter().map(file).collect::<Vec<Value>>(),
            "files_left_out": judgement.files_left_out,
            "files_equal": judgement.files_equal,
            "signature": {"path": self.signature, "sha256": judgement.signature},
            "digest": {"sha256": judgement.digest},
        });
        format!("{value}\n")
    }

    /// One line for a person.
    pub fn words(&self) -> String {
        let reason = self.judgement.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let named: Vec<_> = self.judgement.files.iter().take(3).map(|file| file.path.as_str()).collect();
        let named = if named.is_empty() { String::new() } else { format!(" ({} …)", named.join(", ")) };
        crate::render::safe(&format!("{} model `{}` is {}{reason}{named}", self.time, self.model, self.state()))
    }

    /// The same as evidence. Its subject is what was found; where nothing could be read, the digest of no bytes stands for it.
    pub fn evidence(&self) -> Evidence {
        let judgement = &self.judgement;
        let digest = judgement.digest.unwrap_or_else(|| sha256(&[]));
        let subject = Subject { kind: SubjectKind::Model, name: self.model.clone(), digest };
        let mut evidence = gather::record(KIND_INTEGRITY_EVENT, "verify-watch", subject, (self.time, self.time));
        let facts = [
            ("state", Fact::Text(self.state().into())),
            ("files_equal", gather::count(judgement.files_equal)),
            ("files_different", gather::count(judgement.files.len() + judgement.files_left_out)),
            ("model_read", Fact::Bool(judgement.digest.is_some())),
        ];
        evidence.facts = facts.map(|(name, fact)| (name.to_owned(), fact)).into();
        evidence.inputs =
            judgement.signature.iter().map(|digest| Input { name: "signature".into(), digest: *digest }).collect();
        evidence.findings = judgement.files.iter().map(finding).collect();
        evidence.reason.clone_from(&judgement.reason);
        evidence.outcome = match judgement.state {
            State::Intact => Outcome::Pass,
            State::Unverifiable => Outcome::Unknown,
            State::Altered => Outcome::Fail,
        };
        evidence
    }
}

fn finding(file: &FileDifference) -> Finding {
    let digest = |digest: &Option<String>| digest.clone().unwrap_or_else(|| "nothing".into());
    Finding {
        rule: format!("signature-file-{}", file.how),
        severity: Severity::Critical,
        confidence: Confidence::High,
        message: format!("`{}`: signed was {}, there is {}", file.path, digest(&file.expected), digest(&file.found)),
        location: Location { path: file.path.clone(), ..Location::default() },
        controls: vec!["STO-02".into()],
        references: vec!["CWE-353".into()],
        remediation: "take the model out of service, keep what is there as evidence, and restore the signed release"
            .into(),
        accepted: None,
    }
}
