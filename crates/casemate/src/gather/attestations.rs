//! Evidence about the set of attestations of a release: who signed, about what, and what is missing (SUP-13).
//!
//! Also the record that an attestation was made, and what all probes of attestations share: reading, judging, planted defects.

use casemate_core::{Digest, Evidence, Fact, Input, Outcome, Subject, SubjectKind, Timestamp};
use casemate_provenance::attestation::judge::Standing;
use casemate_provenance::attestation::predicate::{Kind, Tenor};
use casemate_provenance::attestation::{ModelSubject, SelfTest, self_test, wrong_keys_refused};
use casemate_provenance::sha256;

use super::{ModelProbe, container, count, record};
use crate::attesting::{Attested, keyring, subject_of};
use crate::exit::Failure;
use crate::verifying::read_signature;

/// Kind of the record that an attestation was made.
pub const KIND_RECORDED: &str = "provenance.attestation-record";

/// What every release carries.
const REQUIRED: [Kind; 4] = [Kind::Provenance, Kind::Scan, Kind::Bom, Kind::TestResult];

/// The record that an attestation with this digest was made.
pub fn recorded(model: &ModelSubject, predicate_type: &str, digest: Digest, signers: &str, now: Timestamp) -> Evidence {
    let subject = Subject { kind: SubjectKind::Model, name: model.name.clone(), digest: model.manifest };
    let mut evidence = record(KIND_RECORDED, "attestation-record", subject, (now, now));
    let facts = [("predicate_type", predicate_type), ("signers", signers)];
    evidence.facts = facts.map(|(name, text)| (name.to_owned(), Fact::Text(text.into()))).into();
    evidence.inputs = vec![Input { name: "attestation".into(), digest }];
    evidence.outcome = Outcome::Pass;
    evidence
}

/// The attestations of the probed model, judged, with defects planted for the judge.
pub struct Probed {
    /// The attestations.
    pub attested: Attested,
    /// Whether planted defects, and the same lines under other keys, were refused.
    pub self_test: SelfTest,
}

/// Reads the attestations of the probed model; `Err` is a reason why nothing can be told.
///
/// # Errors
/// When a trusted key cannot be read, or there is no randomness.
pub fn probed(probe: &ModelProbe<'_>) -> Result<Result<Probed, String>, Failure> {
    let project = probe.project.project;
    let named = probe.model.declared.as_ref().and_then(|declared| declared.attestations.as_ref());
    let Some(named) = named else {
        return Ok(Err(format!(
            "the model names no attestations; make them with `casemate attest`, name the file as `attestations` in the `[[model]]` \
             of {}, and the keys under `[trust.roles]`",
            probe.model.shown
        )));
    };
    let keyring = keyring(project)?;
    if keyring.is_empty() {
        return Ok(Err("`[trust.roles]` of casemate.toml names no key to check attestations with".into()));
    }
    let signature = probe.model.signature.as_deref().and_then(|path| read_signature(path).ok());
    let subject = subject_of(&probe.model.name, probe.manifest, signature.map(|bytes| sha256(&bytes)));
    let now = probe.project.context.now();
    let attested = match Attested::read(&project.root.join(named), keyring, subject, now) {
        Ok(attested) => attested,
        Err(failure) => return Ok(Err(failure.message)),
    };
    let mut tested = self_test(&attested.keyring, &attested.subject, now).map_err(Failure::not_evaluated)?;
    let Attested { lines, judged, subject, keyring } = &attested;
    let refused = wrong_keys_refused(lines, judged, keyring, subject, now).map_err(Failure::not_evaluated)?;
    tested.planted += 1;
    tested.caught += u64::from(refused);
    Ok(Ok(Probed { attested, self_test: tested }))
}

/// Reason of a record whose planted defects were not seen.
pub const DEFECT_MISSED: &str = "an attestation that must be refused was not";

impl Probed {
    /// Facts and inputs that every record about attestations has.
    pub fn begin(&self, evidence: &mut Evidence) {
        let tested = [("self_test_planted", self.self_test.planted), ("self_test_caught", self.self_test.caught)];
        evidence.facts.extend(tested.map(|(name, n)| (name.to_owned(), Fact::Count(n))));
        evidence.facts.insert("attestations".into(), count(self.attested.judged.len()));
        let text = self.attested.lines.concat();
        evidence.inputs.push(Input { name: "attestations".into(), digest: sha256(&text) });
        let key = |pem: String| Input { name: "key".into(), digest: sha256(pem.as_bytes()) };
        evidence.inputs.extend(self.attested.keyring.keys().map(|trusted| key(trusted.to_pem())));
    }
}

/// The record of the whole set: required kinds, signers, subjects, container.
///
/// # Errors
/// Those of [`probed`].
pub fn attestations(probe: &ModelProbe<'_>) -> Result<Evidence, Failure> {
    let mut evidence = record("provenance.attestations", "attestations", probe.subject(), probe.project.span());
    let probed = match probed(probe)? {
        Ok(probed) => probed,
        Err(reason) => {
            evidence.reason = Some(reason);
            return Ok(evidence);
        }
    };
    probed.begin(&mut evidence);
    let newest = probed.attested.newest();
    let is_met = |kind: &Kind| {
        let mut of_kind =
            newest.iter().filter_map(|judged| judged.good()).filter(|s| s.predicate.kind() == *kind).peekable();
        of_kind.peek().is_some() && of_kind.all(|statement| statement.predicate.tenor() == Tenor::For)
    };
    let missing: Vec<&str> = REQUIRED.iter().filter(|kind| !is_met(kind)).map(|kind| kind.as_str()).collect();
    let standing = |of: &dyn Fn(&Standing) -> bool| probed.attested.judged.iter().filter(|j| of(&j.standing)).count();
    let refused = standing(&|standing| {
        matches!(
            standing,
            Standing::SignerRefused(_) | Standing::UnknownKey | Standing::BadSignature(_) | Standing::Malformed(_)
        )
    });
    let mismatched = standing(&|standing| *standing == Standing::OtherSubject);
    let facts = [
        ("attestations_missing", count(missing.len())),
        ("signers_refused", count(refused)),
        ("subjects_mismatched", count(mismatched)),
        ("attestations_expired", count(standing(&|standing| *standing == Standing::Expired))),
    ];
    evidence.facts.extend(facts.map(|(name, fact)| (name.to_owned(), fact)));
    let image = container::image_signed(probe);
    if image.is_ok() {
        evidence.facts.insert("image_signed".into(), Fact::Bool(true));
    }
    (evidence.outcome, evidence.reason) = match image {
        _ if !probed.self_test.holds() => (Outcome::Unknown, Some(DEFECT_MISSED.into())),
        _ if !missing.is_empty() => {
            (Outcome::Fail, Some(format!("no good attestation that speaks for the model: {}", missing.join(", "))))
        }
        _ if refused > 0 => (Outcome::Fail, Some(format!("{refused} attestations are signed by nobody who may"))),
        _ if mismatched > 0 => (Outcome::Fail, Some(format!("{mismatched} attestations are about something else"))),
        Err(reason) => (Outcome::Unknown, Some(reason)),
        Ok(()) => (Outcome::Pass, None),
    };
    Ok(evidence)
}
