//! Whether a line of a file of attestations is to be believed: its signatures, who made them, what it is about, when.
//!
//! Answers a key that signs what it was not given for, a line of another model, a second signature that was taken away, and an
//! approval that ran out. What it says is read only after a signature held.

use std::collections::{BTreeMap, BTreeSet};

use casemate_core::{Digest, Timestamp};
use serde::Deserialize;

use super::predicate::{Predicate, Role};
use super::{Error, ModelSubject, STATEMENT_BYTES_MAX, Statement, digest_of_line};
use crate::dsse::{self, SignatureStatus};
use crate::keys::attesting::TrustedKey;
use crate::statement::PAYLOAD_TYPE;

/// How far a signer's clock may run ahead.
const AHEAD_MS_MAX: i64 = 5 * 60 * 1000;

/// Keys, and what each may sign.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    keys: BTreeMap<String, (TrustedKey, BTreeSet<Role>)>,
}

/// What is to be thought of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Signed by whoever may say it, about this model, and still counts.
    Good,
    /// No envelope or no statement: why.
    Malformed(String),
    /// A signature of a known key is bad, or one that must be there is not: which.
    BadSignature(String),
    /// No known key signed it.
    UnknownKey,
    /// A known key signed what it may not say: which role it lacks.
    SignerRefused(Role),
    /// It is about something else.
    OtherSubject,
    /// It no longer counts.
    Expired,
    /// Dated after now.
    Future,
    /// A kind of statement that is not read here: which.
    Unread(String),
}

/// One line, judged.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Which line, from 1.
    pub line: usize,
    /// SHA-256 of the line.
    pub digest: Digest,
    /// The predicate type it claims; believed only where the standing says so.
    pub claims: Option<String>,
    /// What it says, where a signature of a known key held.
    pub statement: Option<Statement>,
    /// Names of the known keys whose signatures hold.
    pub signers: Vec<String>,
    /// What is to be thought of it.
    pub standing: Standing,
    /// Things a person should know.
    pub notes: Vec<String>,
}

#[derive(Deserialize)]
struct Claim {
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

impl Keyring {
    /// Trusts `key` for `roles`, besides those it has.
    pub fn trust(&mut self, key: TrustedKey, roles: impl IntoIterator<Item = Role>) {
        self.keys.entry(key.key_id()).or_insert_with(|| (key, BTreeSet::new())).1.extend(roles);
    }

    /// Whether no key may say anything.
    pub fn is_empty(&self) -> bool {
        self.keys.values().all(|(_, roles)| roles.is_empty())
    }

    /// Every key.
    pub fn keys(&self) -> impl Iterator<Item = &TrustedKey> {
        self.keys.values().map(|(key, _)| key)
    }

    /// The keys that may speak in `role`.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = &TrustedKey> {
        self.keys.values().filter(move |(_, roles)| roles.contains(&role)).map(|(key, _)| key)
    }

    /// The roles of the key of this name.
    pub(super) fn roles(&self, key_id: &str) -> BTreeSet<Role> {
        self.keys.get(key_id).map(|(_, roles)| roles.clone()).unwrap_or_default()
    }
}

impl Standing {
    /// Its name in reports.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Malformed(_) => "malformed",
            Self::BadSignature(_) => "bad signature",
            Self::UnknownKey => "unknown key",
            Self::SignerRefused(_) => "signer refused",
            Self::OtherSubject => "other subject",
            Self::Expired => "expired",
            Self::Future => "future",
            Self::Unread(_) => "not read",
        }
    }
}

impl Judged {
    /// What it says, if it is to be believed.
    pub fn good(&self) -> Option<&Statement> {
        self.statement.as_ref().filter(|_| self.standing == Standing::Good)
    }
}

/// Judges every line of a file.
pub fn judge_all<L: AsRef<[u8]>>(lines: &[L], keyring: &Keyring, model: &ModelSubject, now: Timestamp) -> Vec<Judged> {
    let one = |(at, line): (usize, &L)| Judged { line: at + 1, ..judge(line.as_ref(), keyring, model, now) };
    lines.iter().enumerate().map(one).collect()
}

/// Judges one line about `model` at `now`.
pub fn judge(line: &[u8], keyring: &Keyring, model: &ModelSubject, now: Timestamp) -> Judged {
    let mut judged = Judged {
        line: 1,
        digest: digest_of_line(line),
        claims: None,
        statement: None,
        signers: Vec::new(),
        standing: Standing::UnknownKey,
        notes: Vec::new(),
    };
    judged.standing = standing(line, keyring, model, now, &mut judged).unwrap_or_else(|refused| refused);
    judged
}

/// The verdict, by early return; what was learned on the way is left in `judged`.
fn standing(
    line: &[u8],
    keyring: &Keyring,
    model: &ModelSubject,
    now: Timestamp,
    judged: &mut Judged,
) -> Result<Standing, Standing> {
    let malformed = |error: &dyn std::fmt::Display| Standing::Malformed(error.to_string());
    let envelope = dsse::parse(line, STATEMENT_BYTES_MAX).map_err(|error| malformed(&error))?;
    judged.claims = serde_json::from_slice::<Claim>(&envelope.payload).ok().map(|claim| claim.predicate_type);
    let keys: Vec<TrustedKey> = keyring.keys().cloned().collect();
    let checked = envelope.verify(PAYLOAD_TYPE, &keys).map_err(|error| malformed(&error))?;
    if let Some(bad) = checked.iter().find(|signature| signature.status == SignatureStatus::Bad) {
        return Err(Standing::BadSignature(format!("the signature of key `{}` does not hold", bad.keyid)));
    }
    let message = dsse::pae(&envelope.payload_type, &envelope.payload);
    let good: Vec<&TrustedKey> = (checked.iter().zip(&envelope.signatures))
        .filter(|(checked, _)| checked.status == SignatureStatus::Good)
        .filter_map(|(_, signature)| signer(&keys, &message, signature))
        .collect();
    judged.signers = good.iter().map(|key| key.key_id()).collect();
    if good.is_empty() {
        return Err(Standing::UnknownKey);
    }
    let statement = match Statement::parse(&envelope.payload) {
        Ok(statement) => judged.statement.insert(statement),
        Err(Error::PredicateType(other)) => return Err(Standing::Unread(other)),
        Err(error) => return Err(malformed(&error)),
    };
    let kinds: Vec<&str> = envelope.signatures.iter().map(|s| s.keyid.split(':').next().unwrap_or_default()).collect();
    judged.notes.extend(signatures_suffice(statement, &good, &kinds, keyring)?);
    judged.notes.extend(statement.remarks.iter().cloned());
    if !statement.is_about(model) {
        return Err(Standing::OtherSubject);
    }
    let ahead = |time: Timestamp| time.ms_since(now) > AHEAD_MS_MAX;
    if statement.time().is_some_and(ahead) || statement.signed_at.is_some_and(ahead) {
        return Err(Standing::Future);
    }
    match statement.predicate.expires_at() {
        Some(end) if end <= now => Err(Standing::Expired),
        _ => Ok(Standing::Good),
    }
}

/// The key that made a signature that is good.
fn signer<'k>(keys: &'k [TrustedKey], message: &[u8], signature: &dsse::Signature) -> Option<&'k TrustedKey> {
    use crate::dsse::Verifies as _;
    let named = keys.iter().find(|key| key.key_id() == signature.keyid);
    named.or_else(|| keys.iter().find(|key| key.verifies(message, &signature.sig)))
}

/// Whether those who signed may say it, with every signature that must be there. Of each class of keys the role has, classical
/// and post-quantum, one has to have signed.
fn signatures_suffice(
    statement: &Statement,
    good: &[&TrustedKey],
    kinds: &[&str],
    keyring: &Keyring,
) -> Result<Vec<String>, Standing> {
    let role = Predicate::role(&statement.predicate);
    let allowed: Vec<&TrustedKey> = keyring.of_role(role).collect();
    let speaking: Vec<&&TrustedKey> = good.iter().filter(|key| allowed.contains(*key)).collect();
    if speaking.is_empty() {
        return Err(Standing::SignerRefused(role));
    }
    let mut notes = Vec::new();
    for required in &statement.required_signatures {
        let is_kind = |key: &&TrustedKey| key.kind() == required;
        if !kinds.contains(&required.as_str()) && !good.iter().any(is_kind) {
            return Err(Standing::BadSignature(format!("a required signature is missing: {required}")));
        }
        match (speaking.iter().any(|key| is_kind(key)), allowed.iter().any(is_kind)) {
            (true, _) => {}
            (false, true) => {
                return Err(Standing::BadSignature(format!(
                    "the required {required} signature is of no key of this role"
                )));
            }
            (false, false) => notes.push(format!("the {required} signature was not checked: the role has no such key")),
        }
    }
    for post_quantum in [false, true] {
        let is_class = |key: &&TrustedKey| key.is_post_quantum() == post_quantum;
        if allowed.iter().any(is_class) && !speaking.iter().any(|key| is_class(key)) {
            let class = if post_quantum { "post-quantum" } else { "classical" };
            return Err(Standing::BadSignature(format!(
                "no {class} signature of the role's keys, and it has such a key"
            )));
        }
    }
    Ok(notes)
}
