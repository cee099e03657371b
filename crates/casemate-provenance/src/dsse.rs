//! DSSE v1.0.0 envelopes: bytes of a stated type, with signatures over both.
//!
//! Source: github.com/secure-systems-lab/dsse, v1.0.0, `protocol.md` and `envelope.md`. Every signature is reported, not
//! only the first; which of them are required is for the caller to say. The payload is opaque here: [`crate::statement`] and
//! [`crate::attestation`]. So are the keys: whatever [`Signs`] and [`Verifies`] will do.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

use crate::json;
use crate::keys::{self, KeyPair, PublicKey};

/// Signatures one envelope may carry.
pub const SIGNATURES_MAX: usize = 64;

/// A payload, its type, and signatures nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What kind of bytes the payload is, e.g. `application/vnd.in-toto+json`.
    pub payload_type: String,
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// At least one.
    pub signatures: Vec<Signature>,
}

/// A private key that signs envelopes.
pub trait Signs {
    /// Name of its public key, as signatures carry it.
    fn key_id(&self) -> String;

    /// The signature of `message`.
    ///
    /// # Errors
    /// When the key cannot sign.
    fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, keys::Error>;
}

/// A public key that checks envelopes.
pub trait Verifies {
    /// Its name, as signatures carry it.
    fn key_id(&self) -> String;

    /// Whether `signature` is this key's signature of `message`.
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool;
}

impl Signs for KeyPair {
    fn key_id(&self) -> String {
        self.public().key_id()
    }

    fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, keys::Error> {
        Ok(self.sign(message))
    }
}

impl Verifies for PublicKey {
    fn key_id(&self) -> String {
        Self::key_id(self)
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Self::verifies(self, message, signature)
    }
}

/// One signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Hint which key signed; not authenticated, may be empty.
    pub keyid: String,
    /// The signature bytes.
    pub sig: Vec<u8>,
}

/// What verification says of one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureStatus {
    /// Made by a known key over this payload and type.
    Good,
    /// Names a known key that did not make it.
    Bad,
    /// Neither names a known key nor was made by one.
    UnknownKey,
}

/// One checked signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedSignature {
    /// The hint it carried.
    pub keyid: String,
    /// What came out.
    pub status: SignatureStatus,
}

/// Why bytes are not an envelope, or not the expected one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Longer than the caller allows.
    #[error("envelope of {size_bytes} bytes is larger than the limit of {max}")]
    TooLarge {
        /// Its length.
        size_bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Not the JSON of an envelope.
    #[error("envelope is malformed: {0}")]
    Json(serde_json::Error),
    /// Payload or signature is not base64.
    #[error("`{field}` of the envelope is not base64")]
    Base64 {
        /// Which field.
        field: &'static str,
    },
    /// An envelope without signatures says nothing.
    #[error("envelope has no signatures")]
    Unsigned,
    /// More than [`SIGNATURES_MAX`].
    #[error("envelope has {n} signatures, more than {max}")]
    TooManySignatures {
        /// How many.
        n: usize,
        /// The limit.
        max: usize,
    },
    /// The payload is of another type than the caller reads.
    #[error("payload type is `{found}`, not `{expected}`")]
    PayloadType {
        /// What the envelope says.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A signing key failed.
    #[error(transparent)]
    Key(#[from] keys::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    payload: String,
    payload_type: String,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
struct WireSignature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// The bytes a signature covers: pre-authentication encoding of type and payload.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// An envelope around `payload`, signed by each of `keys` in order.
///
/// # Errors
/// [`Error::Unsigned`] without keys, [`Error::TooManySignatures`] with more than [`SIGNATURES_MAX`], [`Error::Key`].
pub fn sign(payload_type: &str, payload: Vec<u8>, keys: &[&dyn Signs]) -> Result<Envelope, Error> {
    check_count(keys.len())?;
    let message = pae(payload_type, &payload);
    let sign = |key: &&dyn Signs| Ok(Signature { keyid: key.key_id(), sig: key.sign_message(&message)? });
    let signatures = keys.iter().map(sign).collect::<Result<_, Error>>()?;
    Ok(Envelope { payload_type: payload_type.into(), payload, signatures })
}

/// Reads an envelope of at most `size_bytes_max` bytes.
///
/// # Errors
/// Anything of [`Error`] but the payload type: over the limit, not JSON, repeated keys, no or too many signatures.
pub fn parse(bytes: &[u8], size_bytes_max: usize) -> Result<Envelope, Error> {
    if bytes.len() > size_bytes_max {
        return Err(Error::TooLarge { size_bytes: bytes.len(), max: size_bytes_max });
    }
    json::refuse_duplicate_keys(bytes).map_err(Error::Json)?;
    let wire: Wire = serde_json::from_slice(bytes).map_err(Error::Json)?;
    check_count(wire.signatures.len())?;
    let payload = decode(&wire.payload).ok_or(Error::Base64 { field: "payload" })?;
    let signature = |signature: WireSignature| {
        let sig = decode(&signature.sig).ok_or(Error::Base64 { field: "sig" })?;
        Ok(Signature { keyid: signature.keyid, sig })
    };
    let signatures = wire.signatures.into_iter().map(signature).collect::<Result<_, Error>>()?;
    Ok(Envelope { payload_type: wire.payload_type, payload, signatures })
}

impl Envelope {
    /// The envelope as JSON, always the same bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let wire = Wire {
            payload: STANDARD.encode(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures: (self.signatures.iter())
                .map(|s| WireSignature { keyid: s.keyid.clone(), sig: STANDARD.encode(&s.sig) })
                .collect(),
        };
        // Strings and lists of strings always serialise.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// What `keys` say of each signature, in order.
    ///
    /// A signature whose `keyid` is a known key's id is checked against that key; one without `keyid` against all.
    ///
    /// # Errors
    /// [`Error::PayloadType`] when the payload is not of type `payload_type`, and [`Error::Unsigned`].
    pub fn verify<K: Verifies>(&self, payload_type: &str, keys: &[K]) -> Result<Vec<CheckedSignature>, Error> {
        if self.payload_type != payload_type {
            return Err(Error::PayloadType { found: self.payload_type.clone(), expected: payload_type.into() });
        }
        check_count(self.signatures.len())?;
        let message = pae(&self.payload_type, &self.payload);
        let keys: Vec<_> = keys.iter().map(|key| (key.key_id(), key)).collect();
        let check = |signature: &Signature| {
            let named = keys.iter().find(|(id, _)| *id == signature.keyid);
            let status = match named {
                Some((_, key)) if key.verifies(&message, &signature.sig) => SignatureStatus::Good,
                Some(_) => SignatureStatus::Bad,
                None if !signature.keyid.is_empty() => SignatureStatus::UnknownKey,
                None if keys.iter().any(|(_, key)| key.verifies(&message, &signature.sig)) => SignatureStatus::Good,
                None => SignatureStatus::UnknownKey,
            };
            CheckedSignature { keyid: signature.keyid.clone(), status }
        };
        Ok(self.signatures.iter().map(check).collect())
    }
}

fn check_count(n: usize) -> Result<(), Error> {
    match n {
        0 => Err(Error::Unsigned),
        n if n > SIGNATURES_MAX => Err(Error::TooManySignatures { n, max: SIGNATURES_MAX }),
        _ => Ok(()),
    }
}

/// Either alphabet is allowed ("Either standard or URL-safe encoding is allowed", `envelope.md`).
fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "http://example.com/HelloWorld";
    const MAX: usize = 1 << 20;

    fn statuses(envelope: &Envelope, keys: &[PublicKey]) -> Vec<SignatureStatus> {
        envelope.verify(TYPE, keys).unwrap().into_iter().map(|signature| signature.status).collect()
    }

    #[test]
    fn the_encoding_is_the_one_of_the_specification() {
        // protocol.md, "Test vectors".
        assert_eq!(pae(TYPE, b"hello world"), b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
        assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
    }

    #[test]
    fn every_signature_is_reported() {
        let [a, b, c] = [(); 3].map(|()| KeyPair::generate().unwrap());
        let mut envelope = sign(TYPE, b"payload".to_vec(), &[&a, &b, &c]).unwrap();
        envelope.signatures[1].sig[0] ^= 1;
        let known = [a.public(), b.public()];
        let expected = [SignatureStatus::Good, SignatureStatus::Bad, SignatureStatus::UnknownKey];
        assert_eq!(statuses(&envelope, &known), expected);
        assert_eq!(parse(&envelope.to_json(), MAX).unwrap(), envelope);
    }

    #[test]
    fn a_signature_without_keyid_is_tried_with_every_key() {
        let [a, b] = [(); 2].map(|()| KeyPair::generate().unwrap());
        let mut envelope = sign(TYPE, b"payload".to_vec(), &[&b]).unwrap();
        envelope.signatures[0].keyid.clear();
        assert_eq!(statuses(&envelope, &[a.public(), b.public()]), [SignatureStatus::Good]);
        assert_eq!(statuses(&envelope, &[a.public()]), [SignatureStatus::UnknownKey]);
    }

    #[test]
    fn another_payload_or_type_under_the_same_signature_is_bad() {
        let key = KeyPair::generate().unwrap();
        let envelope = sign(TYPE, b"payload".to_vec(), &[&key]).unwrap();
        let other = Envelope { payload: b"payloae".to_vec(), ..envelope.clone() };
        assert_eq!(statuses(&other, &[key.public()]), [SignatureStatus::Bad]);
        let error = envelope.verify("application/json", &[key.public()]).unwrap_err();
        assert_eq!(error.to_string(), format!("payload type is `{TYPE}`, not `application/json`"));
        let retyped = Envelope { payload_type: "x".into(), ..envelope };
        assert_eq!(retyped.verify("x", &[key.public()]).unwrap()[0].status, SignatureStatus::Bad);
    }

    #[test]
    fn malformed_envelopes_are_refused() {
        let signature = r#"{"keyid":"","sig":"AA=="}"#;
        let envelope = |signatures: &str| format!(r#"{{"payload":"","payloadType":"t","signatures":[{signatures}]}}"#);
        assert!(parse(envelope(signature).as_bytes(), MAX).is_ok());
        assert!(matches!(parse(envelope("").as_bytes(), MAX), Err(Error::Unsigned)));
        let many = vec![signature; SIGNATURES_MAX + 1].join(",");
        assert!(matches!(parse(envelope(&many).as_bytes(), MAX), Err(Error::TooManySignatures { n: 65, .. })));
        assert!(matches!(parse(envelope(signature).as_bytes(), 10), Err(Error::TooLarge { max: 10, .. })));
        let bad_base64 = envelope(r#"{"sig":"A"}"#);
        assert!(matches!(parse(bad_base64.as_bytes(), MAX), Err(Error::Base64 { field: "sig" })));
        let repeated = r#"{"x":1,"x":1,"payload":"","payloadType":"t","signatures":[{"sig":"AA=="}]}"#;
        assert!(parse(repeated.as_bytes(), MAX).unwrap_err().to_string().contains("`x` is repeated"));
        assert!(sign(TYPE, Vec::new(), &[]).is_err());
    }

    #[test]
    fn both_base64_alphabets_are_read() {
        let text = |sig: &str| format!(r#"{{"payload":"","payloadType":"t","signatures":[{{"sig":"{sig}"}}]}}"#);
        for sig in ["-_8=", "+/8="] {
            assert_eq!(parse(text(sig).as_bytes(), MAX).unwrap().signatures[0].sig, [0xfb, 0xff]);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_parsed_without_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes, MAX);
        }

        #[test]
        fn a_parsed_envelope_prints_and_parses_back(payload: Vec<u8>, payload_type: String, keyid: String, sig: Vec<u8>) {
            let envelope = Envelope { payload_type, payload, signatures: vec![Signature { keyid, sig }] };
            prop_assert_eq!(parse(&envelope.to_json(), MAX).unwrap(), envelope);
        }
    }
}
