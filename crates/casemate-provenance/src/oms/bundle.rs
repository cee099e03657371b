//! The signature file: a Sigstore bundle v0.3 that holds one DSSE envelope.
//!
//! Source: sigstore protobuf-specs, `sigstore_bundle.proto`, as far as Model Signing uses it. Typed structs refuse fields
//! they do not know, as the reference does; transparency log entries and timestamps are carried by others and not read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BUNDLE_BYTES_MAX, Error};
use crate::dsse::{SIGNATURES_MAX, Signature};
use crate::json;
use crate::statement::PAYLOAD_TYPE;

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Certificates a bundle may carry.
const CERTIFICATES_MAX: usize = 16;

/// A signature file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// What tells whose signature it is.
    pub material: Material,
    /// Type of the payload.
    pub payload_type: String,
    /// What is signed.
    pub payload: Vec<u8>,
    /// At least one.
    pub signatures: Vec<Signature>,
}

/// What tells whose signature it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// A key the verifier has.
    PublicKey {
        /// Its name, [`crate::keys::signing::VerifyingKey::hint`].
        hint: Option<String>,
    },
    /// Certificates, DER, the signer's first.
    Certificates(Vec<Vec<u8>>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    media_type: String,
    verification_material: WireMaterial,
    dsse_envelope: WireEnvelope,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireMaterial {
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<WireKey>,
    #[serde(rename = "x509CertificateChain", skip_serializing_if = "Option::is_none")]
    chain: Option<WireChain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<WireCertificate>,
    #[serde(default)]
    tlog_entries: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_verification_data: Option<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireKey {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireChain {
    certificates: Vec<WireCertificate>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireCertificate {
    raw_bytes: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSignature {
    sig: String,
    #[serde(default)]
    keyid: String,
}

impl Bundle {
    /// Reads a signature file.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Json`], [`Error::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(Error::TooLarge { bytes: bytes.len() });
        }
        json::refuse_duplicate_keys(bytes).map_err(Error::Json)?;
        let wire: Wire = serde_json::from_slice(bytes).map_err(Error::Json)?;
        let malformed = |what: &str| Error::Malformed(what.into());
        if wire.media_type != MEDIA_TYPE {
            return Err(malformed(&format!("its media type is not `{MEDIA_TYPE}`")));
        }
        let envelope = wire.dsse_envelope;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(malformed(&format!("its payload type is not `{PAYLOAD_TYPE}`")));
        }
        if envelope.signatures.is_empty() {
            return Err(malformed("it has no signatures"));
        }
        if envelope.signatures.len() > SIGNATURES_MAX {
            return Err(malformed(&format!("it has more than {SIGNATURES_MAX} signatures")));
        }
        let signature =
            |wire: &WireSignature| Ok(Signature { keyid: wire.keyid.clone(), sig: base64_of("signature", &wire.sig)? });
        Ok(Self {
            material: material(wire.verification_material)?,
            payload_type: envelope.payload_type,
            payload: base64_of("payload", &envelope.payload)?,
            signatures: envelope.signatures.iter().map(signature).collect::<Result<_, Error>>()?,
        })
    }

    /// The file.
    pub fn to_json(&self) -> Vec<u8> {
        let mut material = WireMaterial::default();
        match &self.material {
            Material::PublicKey { hint } => material.public_key = Some(WireKey { hint: hint.clone() }),
            Material::Certificates(chain) => {
                let certificate = |der: &Vec<u8>| WireCertificate { raw_bytes: STANDARD.encode(der) };
                material.chain = Some(WireChain { certificates: chain.iter().map(certificate).collect() });
            }
        }
        let signature = |signature: &Signature| WireSignature {
            sig: STANDARD.encode(&signature.sig),
            keyid: signature.keyid.clone(),
        };
        let wire = Wire {
            media_type: MEDIA_TYPE.into(),
            verification_material: material,
            dsse_envelope: WireEnvelope {
                payload: STANDARD.encode(&self.payload),
                payload_type: self.payload_type.clone(),
                signatures: self.signatures.iter().map(signature).collect(),
            },
        };
        serde_json::to_vec(&wire).expect("strings and lists of strings have a JSON form")
    }

    /// What releases before v1.0 signed by mistake: the payload as Python prints bytes, under a misspelled mark.
    pub(super) fn legacy_message(&self) -> Vec<u8> {
        let (kind, payload) = (&self.payload_type, &self.payload);
        format!("DSSEV1 {} {kind} {} {}", kind.len(), payload.len(), python_bytes(payload)).into_bytes()
    }
}

fn base64_of(what: &str, text: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(text).map_err(|_| Error::Malformed(format!("its {what} is not base64")))
}

fn material(wire: WireMaterial) -> Result<Material, Error> {
    match (wire.public_key, wire.chain, wire.certificate) {
        (Some(key), None, None) => Ok(Material::PublicKey { hint: key.hint.filter(|hint| !hint.is_empty()) }),
        (None, Some(chain), None) if chain.certificates.is_empty() || chain.certificates.len() > CERTIFICATES_MAX => {
            Err(Error::Malformed(format!("it must have 1 to {CERTIFICATES_MAX} certificates")))
        }
        (None, Some(chain), None) => {
            let der = |certificate: &WireCertificate| base64_of("certificate", &certificate.raw_bytes);
            Ok(Material::Certificates(chain.certificates.iter().map(der).collect::<Result<_, _>>()?))
        }
        (None, None, Some(_)) => Err(Error::Malformed(
            "it was signed without a key of its own (keyless), which this build does not read".into(),
        )),
        _ => Err(Error::Malformed("it must name a public key or certificates, and one of them only".into())),
    }
}

/// `bytes` as Python's `repr` prints them.
fn python_bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { '"' } else { '\'' };
    let mut out = format!("b{quote}");
    for byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            byte if char::from(*byte) == quote => out.extend(['\\', quote]),
            0x20..=0x7e => out.push(char::from(*byte)),
            byte => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_print_as_python_prints_them() {
        assert_eq!(python_bytes(b"a'b"), r#"b"a'b""#);
        assert_eq!(python_bytes(b"a'\"b"), r#"b'a\'"b'"#);
        assert_eq!(python_bytes(b"\x00\t\n\r\\\x7f\xff "), r"b'\x00\t\n\r\\\x7f\xff '");
    }

    #[test]
    fn a_bundle_comes_back_from_its_file() {
        for material in [
            Material::PublicKey { hint: Some("ab".into()) },
            Material::PublicKey { hint: None },
            Material::Certificates(vec![vec![1], vec![2, 3]]),
        ] {
            let signatures =
                vec![Signature { keyid: String::new(), sig: vec![1] }, Signature { keyid: "x".into(), sig: vec![2] }];
            let bundle = Bundle { material, payload_type: PAYLOAD_TYPE.into(), payload: vec![7; 9], signatures };
            assert_eq!(Bundle::parse(&bundle.to_json()).unwrap(), bundle);
        }
    }
}
