//! A double of HashiCorp Vault's transit engine, since no package carries the real one: the protocol strictly, the cryptography for real.
//!
//! Source: Vault HTTP API, "Transit secrets engine". It answers as Vault does to a wrong token, namespace, path, permission or
//! key version, and panics on what casemate should never send: an unknown member, a hash of the wrong length, an unversioned
//! signature request. Keys are aws-lc's: ECDSA signs the hash it is given, AES-256-GCM binds the associated data.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{Algorithm, Digest, SHA256, SHA384, SHA512};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::server::{Asked, Reply, Server};

/// May do everything.
pub const TOKEN: &str = "hvs.root-of-the-double";
/// May read keys, and neither sign nor encrypt.
pub const READER: &str = "hvs.reader-of-the-double";
/// May encrypt and decrypt, and not read keys.
pub const WRAPPER: &str = "hvs.wrapper-of-the-double";

/// What the double does otherwise than Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// Signs another hash.
    Lies,
    /// Signs with another version and says so.
    OtherVersion,
    Sealed,
    /// Echoes the token in an error.
    Echoes,
    /// Gives back a data key of 31 bytes.
    Short,
}

struct Transit {
    manner: Manner,
    mount: &'static str,
    namespace: Option<&'static str>,
    signing: BTreeMap<&'static str, Vec<EcdsaKeyPair>>,
    wrapping: BTreeMap<&'static str, LessSafeKey>,
}

/// Starts the double: keys `p256` (two versions), `p384`, `p521`, `kek`, `other-kek`, and `rsa`, of which there is the name alone.
pub fn start(manner: Manner) -> Server {
    start_at(manner, "transit", None)
}

/// The same at another mount path and in a namespace.
pub fn start_at(manner: Manner, mount: &'static str, namespace: Option<&'static str>) -> Server {
    let pairs = |algorithm: &'static EcdsaSigningAlgorithm, n| {
        (0..n).map(|_| EcdsaKeyPair::generate(algorithm).unwrap()).collect::<Vec<_>>()
    };
    let wrapping = |byte| LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[byte; 32]).unwrap());
    let transit = Arc::new(Transit {
        manner,
        mount,
        namespace,
        signing: [
            ("p256", pairs(&ECDSA_P256_SHA256_ASN1_SIGNING, 2)),
            ("p384", pairs(&ECDSA_P384_SHA384_ASN1_SIGNING, 1)),
            ("p521", pairs(&ECDSA_P521_SHA512_ASN1_SIGNING, 1)),
        ]
        .into(),
        wrapping: [("kek", wrapping(1)), ("other-kek", wrapping(2))].into(),
    });
    Server::start(move |asked| transit.answer(asked))
}

fn error(status: u16, text: &str) -> Reply {
    let errors: Vec<&str> = [text].into_iter().filter(|text| !text.is_empty()).collect();
    Reply::new(status, &[("content-type", "application/json")], json!({"errors": errors}).to_string())
}

fn data(data: &Value) -> Reply {
    let answer = json!({"request_id": "5a1c", "lease_id": "", "renewable": false, "data": data, "warnings": null});
    Reply::new(200, &[("content-type", "application/json")], answer.to_string())
}

impl Transit {
    fn answer(&self, asked: &Asked) -> Reply {
        if self.manner == Manner::Sealed {
            return error(503, "Vault is sealed");
        }
        let token = asked.headers.get("x-vault-token").map(String::as_str).unwrap_or_default();
        if self.manner == Manner::Echoes {
            return error(400, &format!("what is {token}?"));
        }
        if ![TOKEN, READER, WRAPPER].contains(&token) {
            return error(403, "permission denied");
        }
        assert_eq!(asked.headers.get("x-vault-request").map(String::as_str), Some("true"));
        let namespace = asked.headers.get("x-vault-namespace").map(String::as_str);
        let place = asked.path.strip_prefix(&format!("/v1/{}/", self.mount)).filter(|_| namespace == self.namespace);
        let Some((what, name)) = place.and_then(|place| place.split_once('/')) else {
            return error(404, &format!("no handler for route {:?}. route entry not found.", asked.path));
        };
        assert_eq!(asked.method, if what == "keys" { "GET" } else { "POST" });
        let allowed = match token {
            READER => ["keys"].as_slice(),
            WRAPPER => &["encrypt", "decrypt"],
            _ => &["keys", "sign", "encrypt", "decrypt"],
        };
        if !allowed.contains(&what) {
            return error(403, "1 error occurred:\n\t* permission denied\n\n");
        }
        match what {
            "keys" => self.key(name),
            "sign" => self.sign(name, &asked.body),
            "encrypt" => self.encrypt(name, &asked.body),
            "decrypt" => self.decrypt(name, &asked.body),
            other => panic!("{other} is nothing casemate asks for"),
        }
    }

    fn key(&self, name: &str) -> Reply {
        let (key_type, keys) = match (self.signing.get(name), self.wrapping.contains_key(name)) {
            (Some(pairs), _) => {
                let version = |(i, pair): (usize, &EcdsaKeyPair)| {
                    let public =
                        json!({"creation_time": "2026-01-01T00:00:00Z", "name": name, "public_key": pem(pair)});
                    ((i + 1).to_string(), public)
                };
                let key_type = format!("ecdsa-{name}");
                (key_type, pairs.iter().enumerate().map(version).collect::<BTreeMap<_, _>>())
            }
            (None, true) => ("aes256-gcm96".into(), [("1".into(), json!(1_767_225_600))].into()),
            (None, false) if name == "rsa" => ("rsa-2048".into(), [("1".into(), json!({"public_key": "x"}))].into()),
            (None, false) => return error(404, ""),
        };
        data(&json!({
            "name": name, "type": key_type, "latest_version": keys.len(), "min_decryption_version": 1, "keys": keys,
            "exportable": false, "deletion_allowed": false, "derived": false,
        }))
    }

    fn sign(&self, name: &str, body: &[u8]) -> Reply {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Ask {
            input: String,
            prehashed: bool,
            hash_algorithm: String,
            marshaling_algorithm: String,
            key_version: usize,
        }
        let ask: Ask = serde_json::from_slice(body).unwrap();
        let Some(pairs) = self.signing.get(name) else { return error(400, "signing key not found") };
        let (hash, algorithm): (&str, &'static Algorithm) = match name {
            "p256" => ("sha2-256", &SHA256),
            "p384" => ("sha2-384", &SHA384),
            _ => ("sha2-512", &SHA512),
        };
        assert!(ask.prehashed && ask.marshaling_algorithm == "asn1" && ask.hash_algorithm == hash);
        let mut input = STANDARD.decode(&ask.input).unwrap();
        if self.manner == Manner::Lies {
            input[0] ^= 1;
        }
        let version = if self.manner == Manner::OtherVersion { 3 - ask.key_version } else { ask.key_version };
        let digest = Digest::import_less_safe(&input, algorithm).expect("a hash of the length of its algorithm");
        let signature = pairs[version - 1].sign_digest(&digest).unwrap();
        data(&json!({"signature": format!("vault:v{version}:{}", STANDARD.encode(signature)), "key_version": version}))
    }

    fn encrypt(&self, name: &str, body: &[u8]) -> Reply {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Ask {
            plaintext: String,
            associated_data: String,
        }
        let ask: Ask = serde_json::from_slice(body).unwrap();
        let key = self.wrapping.get(name).expect("Vault would make a key of this name");
        let mut sealed = STANDARD.decode(&ask.plaintext).unwrap();
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).unwrap();
        let aad = Aad::from(STANDARD.decode(&ask.associated_data).unwrap());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).unwrap();
        let text = format!("vault:v1:{}", STANDARD.encode([nonce.as_slice(), &sealed].concat()));
        data(&json!({"ciphertext": text, "key_version": 1}))
    }

    fn decrypt(&self, name: &str, body: &[u8]) -> Reply {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Ask {
            ciphertext: String,
            associated_data: String,
        }
        let ask: Ask = serde_json::from_slice(body).unwrap();
        let Some(key) = self.wrapping.get(name) else { return error(400, "encryption key not found") };
        let mut sealed = STANDARD.decode(ask.ciphertext.strip_prefix("vault:v1:").unwrap()).unwrap();
        if sealed.len() < NONCE_LEN {
            return error(400, "invalid ciphertext length");
        }
        let mut rest = sealed.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&sealed).unwrap();
        let aad = Aad::from(STANDARD.decode(&ask.associated_data).unwrap());
        let Ok(plain) = key.open_in_place(nonce, aad, &mut rest) else {
            return error(400, "cipher: message authentication failed");
        };
        let shown = if self.manner == Manner::Short { &plain[1..] } else { plain };
        data(&json!({"plaintext": STANDARD.encode(shown)}))
    }
}

/// The public key as Vault shows it.
fn pem(pair: &EcdsaKeyPair) -> String {
    let body = STANDARD.encode(pair.public_key().as_der().unwrap().as_ref());
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}
