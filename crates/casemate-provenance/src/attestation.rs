//! Attestations: what somebody says of a model, signed, one DSSE envelope a line.
//!
//! Answers the link of the chain that nobody vouches for: a model trained from other data than stated, a scan of another build,
//! a swap between training and storage. Sources: in-toto Statement v1 and ResourceDescriptor (github.com/in-toto/attestation,
//! `spec/v1`), SLSA provenance v1 and verification summary v1 (slsa.dev/spec), in-toto test result v0.1, CycloneDX.
//!
//! **The subject.** A statement's first subject has the model's name and, as `sha256`, [`crate::Manifest::digest`]: SHA-256 of the
//! canonical list of names, sizes and contents. A model that is one file has a second subject, `./NAME`, with the plain SHA-256
//! of the file, so that tools that know files only find it. Where the model's signature was given, a further subject holds the
//! SHA-256 of the signature file and binds the statement to that very signature.
//!
//! **Extensions.** What is ours stands in the first subject's `annotations.casemate`, where every reader of the format allows it:
//! the time of signing, the kinds of signatures that must be there, so that none can be taken away, and remarks.
//!
//! A time in a statement is its signer's claim. That one statement was there before another only a ledger shows.
//!
//! [`predicate`] and its neighbours are what can be said, [`judge`](mod@judge) whether it is to be believed, [`store`] the file.

pub mod approval;
pub mod bom;
pub mod descriptor;
pub mod judge;
pub mod predicate;
pub mod provenance;
pub mod results;
mod self_test;
pub mod store;
pub mod summary;

use casemate_core::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dsse::{self, Signs};
use crate::hash::sha256;
use crate::json;
use crate::keys::attesting::AttestingKey;
use crate::statement::{PAYLOAD_TYPE, STATEMENT_TYPE};
use descriptor::ResourceDescriptor;
use predicate::Predicate;
pub use self_test::{SelfTest, self_test, wrong_keys_refused};

/// Longest statement, and longest line of a file of attestations: a bill of materials of some ten thousand components.
pub const STATEMENT_BYTES_MAX: usize = 16 << 20;
/// Subjects one statement may have.
const SUBJECTS_MAX: usize = 1000;
/// Where our extension stands among the annotations of the first subject.
const EXTENSION: &str = "casemate";
/// Media type of what [`crate::Manifest::digest`] hashes.
const MANIFEST_TYPE: &str = "application/vnd.casemate.manifest.v1";
/// Media type of a signature file (OpenSSF Model Signing).
const SIGNATURE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Why an attestation cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the JSON of a statement or of its predicate, or a key is repeated.
    #[error("the statement is malformed: {0}")]
    Json(serde_json::Error),
    /// A part that must be one thing is another.
    #[error("the statement is malformed: {0}")]
    Malformed(String),
    /// Longer than [`STATEMENT_BYTES_MAX`].
    #[error("the statement has {size_bytes} bytes, more than {STATEMENT_BYTES_MAX}")]
    TooLarge {
        /// Its length.
        size_bytes: usize,
    },
    /// A predicate nobody here reads.
    #[error("its predicate type `{0}` is not read")]
    PredicateType(String),
    /// The envelope, or a key.
    #[error(transparent)]
    Envelope(#[from] dsse::Error),
}

/// The digests that are a model's, as they stand in subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSubject {
    /// Its name.
    pub name: String,
    /// [`crate::Manifest::digest`].
    pub manifest: Digest,
    /// Name and SHA-256 of its file, where it is one.
    pub file: Option<(String, Digest)>,
    /// SHA-256 of its signature file, where there is one.
    pub signature: Option<Digest>,
}

/// One statement about a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// What it is about; at least one.
    pub subjects: Vec<ResourceDescriptor>,
    /// What it says.
    pub predicate: Predicate,
    /// Kinds of the signatures that must be there.
    pub required_signatures: Vec<String>,
    /// When it was signed, by the signer's clock, where it says.
    pub signed_at: Option<Timestamp>,
    /// What a person should know besides.
    pub remarks: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Wire<P> {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: Vec<ResourceDescriptor>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: P,
}

/// Our extension. It has no other members: one that nobody knows might say what must not be skipped.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extension {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    required_signatures: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
}

impl ModelSubject {
    /// The subjects a statement about this model has.
    pub fn descriptors(&self) -> Vec<ResourceDescriptor> {
        let manifest = ResourceDescriptor::of_manifest(&self.name, self.manifest);
        let file = self.file.as_ref().map(|(name, digest)| ResourceDescriptor::of(&format!("./{name}"), *digest));
        let signature = |digest: &Digest| {
            ResourceDescriptor::of(&format!("{} (signature)", self.name), *digest).with_media_type(SIGNATURE_TYPE)
        };
        [Some(manifest), file, self.signature.as_ref().map(signature)].into_iter().flatten().collect()
    }
}

impl Statement {
    /// The statement of `predicate` about `model`.
    pub fn about(model: &ModelSubject, predicate: Predicate, now: Timestamp) -> Self {
        Self {
            subjects: model.descriptors(),
            predicate,
            required_signatures: Vec::new(),
            signed_at: Some(now),
            remarks: Vec::new(),
        }
    }

    /// Whether it is about `model`, and where it names a signature file, about that signature of it.
    pub fn is_about(&self, model: &ModelSubject) -> bool {
        let is_signature = |subject: &&ResourceDescriptor| subject.media_type == SIGNATURE_TYPE;
        let named = |subject: &ResourceDescriptor| {
            let digest = subject.sha256();
            digest == Some(model.manifest) || digest.is_some() && digest == model.file.as_ref().map(|(_, file)| *file)
        };
        let mut signatures = self.subjects.iter().filter(is_signature);
        self.subjects.iter().filter(|subject| !is_signature(subject)).any(named)
            && signatures.all(|subject| model.signature.is_none() || subject.sha256() == model.signature)
    }

    /// The digest of the first subject, if it has a SHA-256.
    pub fn digest(&self) -> Option<Digest> {
        self.subjects.first().and_then(ResourceDescriptor::sha256)
    }

    /// When what it says took place or was said, by the signer's clock.
    pub fn time(&self) -> Option<Timestamp> {
        self.predicate.time().or(self.signed_at)
    }

    /// The statement as JSON, always the same bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what [`Statement::parse`] would refuse, [`Error::TooLarge`].
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        let mut subject = self.subjects.clone();
        let extension = Extension {
            required_signatures: self.required_signatures.clone(),
            signed_at: self.signed_at,
            remarks: self.remarks.clone(),
        };
        let Some(first) = subject.first_mut() else { return Err(Error::Malformed("it has no subject".into())) };
        if extension != Extension::default() {
            let extension = serde_json::to_value(extension).map_err(Error::Json)?;
            first.annotations.insert(EXTENSION.into(), extension);
        }
        let wire = Wire {
            statement_type: STATEMENT_TYPE.into(),
            subject,
            predicate_type: self.predicate.predicate_type().into(),
            predicate: &self.predicate,
        };
        let bytes = serde_json::to_vec(&wire).map_err(Error::Json)?;
        // What cannot be read back as it was meant is not signed: NaN, say, or a predicate that contradicts itself.
        match Self::parse(&bytes)? == *self {
            true => Ok(bytes),
            false => Err(Error::Malformed("it would be read back as another statement".into())),
        }
    }

    /// Reads a statement. Members that the published formats do not have are skipped, as they demand; ours have no others.
    ///
    /// # Errors
    /// [`Error`] but for [`Error::Envelope`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > STATEMENT_BYTES_MAX {
            return Err(Error::TooLarge { size_bytes: bytes.len() });
        }
        json::refuse_duplicate_keys(bytes).map_err(Error::Json)?;
        let wire: Wire<Value> = serde_json::from_slice(bytes).map_err(Error::Json)?;
        if wire.statement_type != STATEMENT_TYPE {
            return Err(Error::Malformed(format!("its `_type` is not `{STATEMENT_TYPE}`")));
        }
        let mut subjects = wire.subject;
        if subjects.is_empty() || subjects.len() > SUBJECTS_MAX {
            return Err(Error::Malformed(format!("it has {} subjects, not 1 to {SUBJECTS_MAX}", subjects.len())));
        }
        for subject in &subjects {
            subject.check_subject()?;
        }
        let extension = subjects.first_mut().and_then(|first| first.annotations.remove(EXTENSION));
        let extension: Option<Extension> = extension.map(serde_json::from_value).transpose().map_err(Error::Json)?;
        let Extension { required_signatures, signed_at, remarks } = extension.unwrap_or_default();
        let predicate = Predicate::parse(&wire.predicate_type, wire.predicate)?;
        if let Predicate::Scan(evidence) = &predicate {
            let named = (evidence.subject.name.as_str(), Some(evidence.subject.digest));
            if subjects.first().map(|first| (first.name.as_str(), first.sha256())) != Some(named) {
                return Err(Error::Malformed("its subject is not the one of the evidence in it".into()));
            }
        }
        Ok(Self { subjects, predicate, required_signatures, signed_at, remarks })
    }

    /// The statement signed by each of `keys`, in order, as a line of a file of attestations. The kinds of all keys are named
    /// as required in what is signed.
    ///
    /// # Errors
    /// Those of [`Statement::to_json`]; [`Error::Envelope`] without keys or when one fails.
    pub fn sign(mut self, keys: &[&AttestingKey]) -> Result<Vec<u8>, Error> {
        self.required_signatures = keys.iter().map(|key| key.kind().to_owned()).collect();
        let signers: Vec<&dyn Signs> = keys.iter().map(|key| *key as &dyn Signs).collect();
        let line = dsse::sign(PAYLOAD_TYPE, self.to_json()?, &signers)?.to_json();
        match line.len() > STATEMENT_BYTES_MAX {
            true => Err(Error::TooLarge { size_bytes: line.len() }),
            false => Ok(line),
        }
    }
}

/// The digest by which others name an attestation: SHA-256 of its line, without the newline.
pub fn digest_of_line(line: &[u8]) -> Digest {
    sha256(line)
}

#[cfg(test)]
mod tests;
