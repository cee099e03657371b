//! The post-quantum signature in a file of its own, for verifiers that want exactly one signature in a bundle.
//!
//! The file is a DSSE v1.0.0 envelope over the very payload of the bundle, with the ML-DSA-65 signature alone, so it can be
//! checked without the bundle too. The threat is that it is taken away or comes from another model: the payload names both
//! signatures as required, so a bundle without the second file is not believed, nor is one beside another payload.

use super::bundle::Bundle;
use super::payload::Signed;
use super::{BUNDLE_BYTES_MAX, Error, Opened, PQ, SignWith, Trusted, believed, made};
use crate::dsse::{self, Envelope, SIGNATURES_MAX};

/// What to do where the signature is missing.
pub(super) const ADVICE: &str = "; if it was signed with --pq-detached, give that file as --pq-signature";

/// Two signature files of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detached {
    /// The bundle, with the ECDSA signature.
    pub bundle: Vec<u8>,
    /// The envelope with the post-quantum one.
    pub pq: Vec<u8>,
}

/// As [`super::sign`], the post-quantum signature apart.
///
/// # Errors
/// Those of [`super::sign`], and [`Error::Malformed`] without a post-quantum key.
pub fn sign(signed: Signed, with: SignWith<'_>) -> Result<Detached, Error> {
    let mut bundle = made(signed, with)?;
    let Some(at) = bundle.signatures.iter().position(|signature| is_pq(&signature.keyid)) else {
        return Err(Error::Malformed("there is no post-quantum key to sign with".into()));
    };
    let signatures = bundle.signatures.split_off(at);
    let envelope = Envelope { payload_type: bundle.payload_type.clone(), payload: bundle.payload.clone(), signatures };
    Ok(Detached { bundle: bundle.to_json(), pq: envelope.to_json() })
}

/// As [`super::open`], for a bundle whose post-quantum signature lies in the file `pq`.
///
/// # Errors
/// Those of [`super::open`], and [`Error::Signature`] when `pq` is over something else.
pub fn open(bytes: &[u8], pq: &[u8], trusted: &Trusted) -> Result<Opened, Error> {
    let mut bundle = Bundle::parse(bytes)?;
    let envelope = dsse::parse(pq, BUNDLE_BYTES_MAX)
        .map_err(|error| Error::Malformed(format!("the file of the post-quantum signature: {error}")))?;
    if envelope.payload_type != bundle.payload_type || envelope.payload != bundle.payload {
        return Err(Error::Signature(
            "the post-quantum signature in its own file is over another list of files".into(),
        ));
    }
    bundle.signatures.extend(envelope.signatures);
    if bundle.signatures.len() > SIGNATURES_MAX {
        return Err(Error::Malformed(format!("both files have more than {SIGNATURES_MAX} signatures")));
    }
    believed(bundle, trusted)
}

/// Whether the bundle `bytes` says that its post-quantum signature lies elsewhere. Nobody vouches for that yet: it tells where to
/// look, and [`super::open`] refuses a bundle that requires what is not there.
pub fn is_wanted(bytes: &[u8]) -> bool {
    let Ok(bundle) = Bundle::parse(bytes) else { return false };
    let holds_it = bundle.signatures.iter().any(|signature| is_pq(&signature.keyid));
    let requires_it = || {
        Signed::parse(&bundle.payload, false).is_ok_and(|signed| signed.required_signatures.contains(&PQ.to_owned()))
    };
    !holds_it && requires_it()
}

fn is_pq(keyid: &str) -> bool {
    keyid.split(':').next() == Some(PQ)
}

#[cfg(test)]
mod tests;
