//! OpenSSF Model Signing v1.0: a model's files, named and hashed, under one signature that other tools verify too.
//!
//! Source: github.com/ossf/model-signing-spec; envelope DSSE v1.0.0, statement in-toto v1. What is written here is verified
//! by the reference implementation, and what the reference writes is verified here, more strictly: names are canonical and
//! unique, an empty list of files or one that ignores the root is malformed, every signature is reported, every file that
//! no signature covers is named, and ignored paths that the reference leaves out are covered in an extension it skips.
//!
//! [`bundle`] is the file, [`payload`] what is signed, [`compare`] the comparison with a directory, [`detached`] a second
//! signature in a file of its own. Keys are in [`crate::keys::signing`].

pub mod bundle;
pub mod chain;
pub mod compare;
pub mod detached;
mod names;
pub mod payload;
pub mod shards;

use crate::dsse::{Signature, pae};
use crate::keys::certificate::Certificate;
use crate::keys::signer::ModelSigner;
use crate::keys::signing::VerifyingKey;
use crate::statement::PAYLOAD_TYPE;
use bundle::{Bundle, Material};
use chain::TrustedRoots;
use payload::Signed;

/// Bytes a bundle may have: a million files of long names.
pub const BUNDLE_BYTES_MAX: usize = 512 << 20;

/// Name of the post-quantum signature among those a payload requires.
const PQ: &str = "ml-dsa-65";

/// Why a bundle cannot be made or believed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Longer than [`BUNDLE_BYTES_MAX`].
    #[error("the signature file has {bytes} bytes, more than {BUNDLE_BYTES_MAX}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not the JSON of a bundle, or a key is repeated.
    #[error("the signature file is malformed: {0}")]
    Json(serde_json::Error),
    /// A part that must be one thing is another.
    #[error("the signature file is malformed: {0}")]
    Malformed(String),
    /// What is signed is not a list of files that can be compared with anything.
    #[error("the signed list of files is malformed: {0}")]
    Payload(String),
    /// A form only old releases wrote.
    #[error("{0}; `--allow-legacy` accepts it")]
    Legacy(&'static str),
    /// No signature that counts is good.
    #[error("{0}")]
    Signature(String),
    /// The signing key failed.
    #[error(transparent)]
    Key(#[from] crate::keys::Error),
    /// What came back as a signature is none.
    #[error(
        "the signature that came back is not one of key {key_id}, so nothing was written; whoever answered does not hold the key"
    )]
    NotSigned {
        /// The key that was asked.
        key_id: String,
    },
}

/// What verification says of one signature of a bundle; a bad one is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureState {
    /// Made by the key that was given.
    Good,
    /// Of a kind for which no key was given.
    NotChecked,
}

/// One signature of a bundle, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedSignature {
    /// The name it carries, or the kind of the key it was checked with.
    pub name: String,
    /// What came out.
    pub state: SignatureState,
}

/// Who is expected to have made the first signature.
#[derive(Clone, Debug)]
pub enum Signer {
    /// The holder of this key.
    Key(VerifyingKey),
    /// Whoever these roots say is called so.
    Certified(TrustedRoots),
}

/// Whom to believe.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// The maker of the first signature.
    pub signer: Signer,
    /// The post-quantum key of the second one, where there is one.
    pub pq_key: Option<VerifyingKey>,
    /// Whether a good post-quantum signature must be there.
    pub require_pq: bool,
    /// Whether the forms of releases before v1.0 are read.
    pub allow_legacy: bool,
}

/// A bundle whose signatures hold.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What was signed.
    pub signed: Signed,
    /// The key of the first signature.
    pub key: VerifyingKey,
    /// Every signature, in order.
    pub signatures: Vec<CheckedSignature>,
    /// Things a person should know.
    pub notes: Vec<String>,
}

/// What signs a model.
#[derive(Clone, Copy, Debug)]
pub struct SignWith<'a> {
    /// ECDSA.
    pub key: &'a dyn ModelSigner,
    /// ML-DSA-65, behind it.
    pub pq_key: Option<&'a dyn ModelSigner>,
    /// Certificates of `key`, DER, its own first; empty when verifiers have the key itself.
    pub certificates: &'a [Vec<u8>],
}

/// The bundle of `signed`: an ECDSA signature and, where there is a `pq_key`, one of ML-DSA-65 behind it, both named as
/// required in what is signed, so that neither can be taken away.
///
/// # Errors
/// [`Error::Malformed`] when the keys are of other kinds, since the reference reads ECDSA first and nothing else, or when
/// the first certificate is not for the key; [`Error::NotSigned`] when a key's answer does not verify.
pub fn sign(signed: Signed, with: SignWith<'_>) -> Result<Vec<u8>, Error> {
    made(signed, with).map(|bundle| bundle.to_json())
}

/// The bundle, all its signatures checked.
fn made(mut signed: Signed, with: SignWith<'_>) -> Result<Bundle, Error> {
    let SignWith { key, pq_key, certificates } = with;
    if key.public().key_type.is_post_quantum() {
        return Err(Error::Malformed("the first signature must be ECDSA; give the ML-DSA key as the second".into()));
    }
    if pq_key.is_some_and(|pq_key| !pq_key.public().key_type.is_post_quantum()) {
        return Err(Error::Malformed("the second signature must be ML-DSA-65".into()));
    }
    if signed.sharded.is_some() {
        return Err(Error::Malformed("a list in shards is read and never written".into()));
    }
    let material = match certificates {
        [] => Material::PublicKey { hint: Some(key.public().hint()) },
        [leaf, ..] => match Certificate::parse(leaf).and_then(|leaf| leaf.key) {
            Some(of_leaf) if of_leaf == *key.public() => Material::Certificates(certificates.to_vec()),
            _ => return Err(Error::Malformed("the certificate is not for this key".into())),
        },
    };
    let keys = || [Some(key), pq_key].into_iter().flatten();
    signed.required_signatures = keys().map(|key| key.public().key_type.as_str().to_owned()).collect();
    let payload = signed.to_json();
    let message = pae(PAYLOAD_TYPE, &payload);
    let signatures = keys().map(|key| signature(key, &message)).collect::<Result<_, _>>()?;
    Ok(Bundle { material, payload_type: PAYLOAD_TYPE.into(), payload, signatures })
}

/// The signature of `message`, which its key says is one.
fn signature(key: &dyn ModelSigner, message: &[u8]) -> Result<Signature, Error> {
    let public = key.public();
    let sig = key.sign(message)?;
    if !public.verifies(message, &sig) {
        return Err(Error::NotSigned { key_id: public.key_id() });
    }
    // The reference expects an empty name on its own signature.
    Ok(Signature { keyid: if public.key_type.is_post_quantum() { public.key_id() } else { String::new() }, sig })
}

/// Reads a bundle and checks its signatures; what was signed is read only after that.
///
/// # Errors
/// [`Error`] names the first reason not to believe it.
pub fn open(bytes: &[u8], trusted: &Trusted) -> Result<Opened, Error> {
    believed(Bundle::parse(bytes)?, trusted)
}

fn believed(bundle: Bundle, trusted: &Trusted) -> Result<Opened, Error> {
    let mut notes = Vec::new();
    let key = match (&bundle.material, &trusted.signer) {
        (Material::PublicKey { hint: None }, Signer::Key(key)) => {
            notes.push("the signature file does not name its key".to_owned());
            key.clone()
        }
        (Material::PublicKey { hint: Some(hint) }, Signer::Key(key)) if *hint != key.hint() => {
            let named = hint.chars().take(80).flat_map(char::escape_debug).collect::<String>();
            return Err(Error::Signature(format!("signed with another key: it names `{named}`, not the one given")));
        }
        (Material::PublicKey { .. }, Signer::Key(key)) => key.clone(),
        (Material::Certificates(chain), Signer::Certified(roots)) => chain::verified_key(chain, roots)?,
        (Material::Certificates(_), Signer::Key(_)) => {
            return Err(Error::Signature("signed with a certificate: give --roots and --identity, not a key".into()));
        }
        (Material::PublicKey { .. }, Signer::Certified(_)) => {
            return Err(Error::Signature("signed with a key and no certificate: give --key".into()));
        }
    };
    let (signatures, legacy) = check(&bundle, &key, trusted)?;
    if legacy {
        notes.push("signed in the form of releases before v1.0, as --allow-legacy allows".to_owned());
    }
    let signed = Signed::parse(&bundle.payload, trusted.allow_legacy)?;
    require(&signed, &signatures, trusted)?;
    notes.extend(signed.notes.iter().cloned());
    for signature in signatures.iter().filter(|signature| signature.state == SignatureState::NotChecked) {
        notes.push(format!("signature `{}` was not checked: no key was given for it", signature.name));
    }
    Ok(Opened { signed, key, signatures, notes })
}

/// Every signature checked with the key it must be of: the first with the key given, the others by their name.
fn check(bundle: &Bundle, first: &VerifyingKey, trusted: &Trusted) -> Result<(Vec<CheckedSignature>, bool), Error> {
    let message = pae(&bundle.payload_type, &bundle.payload);
    let mut checked = Vec::new();
    let mut legacy = false;
    for (n, signature) in bundle.signatures.iter().enumerate() {
        if n == 0 {
            let mut good = first.verifies(&message, &signature.sig);
            if !good && trusted.allow_legacy {
                legacy = first.verifies(&bundle.legacy_message(), &signature.sig);
                good = legacy;
            }
            if !good {
                return Err(Error::Signature(
                    "the signature does not match the key, or what it covers was changed".into(),
                ));
            }
            checked.push(CheckedSignature { name: first.key_type.as_str().into(), state: SignatureState::Good });
            continue;
        }
        let (name, state) = match &trusted.pq_key {
            Some(key) if signature.keyid == key.key_id() => match key.verifies(&message, &signature.sig) {
                true => (key.key_type.as_str().to_owned(), SignatureState::Good),
                false => return Err(Error::Signature(format!("the {} signature is bad", key.key_type.as_str()))),
            },
            _ => (signature.keyid.chars().take(80).flat_map(char::escape_debug).collect(), SignatureState::NotChecked),
        };
        checked.push(CheckedSignature { name, state });
    }
    Ok((checked, legacy))
}

/// Every signature that the payload requires is there, and the post-quantum one is good where it is asked for.
fn require(signed: &Signed, signatures: &[CheckedSignature], trusted: &Trusted) -> Result<(), Error> {
    let good = |wanted: &str| {
        signatures.iter().any(|signature| signature.state == SignatureState::Good && signature.name == wanted)
    };
    for required in &signed.required_signatures {
        // Not checked is said, and left to --require-pq; not there is an attack.
        let there = signatures.iter().any(|signature| {
            let kind = signature.name.split(':').next().unwrap_or_default();
            kind == required && (signature.state == SignatureState::Good || trusted.pq_key.is_none())
        });
        if !there {
            let elsewhere = if required == PQ { detached::ADVICE } else { "" };
            return Err(Error::Signature(format!("a required signature is missing: {required}{elsewhere}")));
        }
    }
    if trusted.require_pq && !good(PQ) {
        return Err(Error::Signature("there is no good post-quantum signature, and one is demanded".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
