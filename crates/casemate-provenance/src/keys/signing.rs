//! Keys that sign models: ECDSA on the NIST curves, as OpenSSF Model Signing v1.0 wants, and ML-DSA-65 beside it.
//!
//! Sources: FIPS 186-5 (ECDSA), FIPS 204 (ML-DSA), RFC 5915 (SEC1 keys), RFC 5958 (PKCS#8), RFC 5480 and RFC 9881 (SPKI).
//! All signing and checking is aws-lc's. Which signatures a model needs is for [`crate::oms`] to say.

use std::path::Path;

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
    ML_DSA_65, ML_DSA_65_SIGNING, PqdsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use casemate_core::Secret;

use super::{Error, pbes2, pem};
use crate::hash;

/// Kinds of signing keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256,
    /// ECDSA on P-384 with SHA-384.
    EcdsaP384,
    /// ECDSA on P-521 with SHA-512.
    EcdsaP521,
    /// ML-DSA-65 with an empty context.
    MlDsa65,
}

/// A private key that signs models.
#[derive(Debug)]
pub struct SigningKey {
    key_type: KeyType,
    pair: Secret<Pair>,
    public: VerifyingKey,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    MlDsa(Box<PqdsaKeyPair>),
}

/// A public key that verifies models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKey {
    /// Its kind.
    pub key_type: KeyType,
    /// SubjectPublicKeyInfo, DER.
    spki: Vec<u8>,
}

/// What stands before the key in the SPKI of each kind: algorithm, bit string, and the mark of an uncompressed point.
const SPKI_PREFIXES: [(KeyType, &[u8], usize); 4] = [
    (
        KeyType::EcdsaP256,
        &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
            0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ],
        65,
    ),
    (
        KeyType::EcdsaP384,
        &[
            0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04,
            0x00, 0x22, 0x03, 0x62, 0x00,
        ],
        97,
    ),
    (
        KeyType::EcdsaP521,
        &[
            0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
            0x04, 0x00, 0x23, 0x03, 0x81, 0x86, 0x00,
        ],
        133,
    ),
    (
        KeyType::MlDsa65,
        &[
            0x30, 0x82, 0x07, 0xb2, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12, 0x03,
            0x82, 0x07, 0xa1, 0x00,
        ],
        1952,
    ),
];

impl KeyType {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::EcdsaP256, Self::EcdsaP384, Self::EcdsaP521, Self::MlDsa65];

    /// Its name on the command line and in signed payloads.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::EcdsaP521 => "ecdsa-p521",
            Self::MlDsa65 => "ml-dsa-65",
        }
    }

    /// Whether quantum computers are not known to break it.
    pub fn is_post_quantum(self) -> bool {
        self == Self::MlDsa65
    }

    /// What a key of this kind signs of `message`: its hash, which is all a key service needs. ML-DSA signs the message itself.
    pub fn prehash(self, message: &[u8]) -> Option<Vec<u8>> {
        let algorithm = match self {
            Self::EcdsaP256 => &SHA256,
            Self::EcdsaP384 => &SHA384,
            Self::EcdsaP521 => &SHA512,
            Self::MlDsa65 => return None,
        };
        Some(digest::digest(algorithm, message).as_ref().to_vec())
    }

    fn ecdsa(self) -> Option<&'static EcdsaSigningAlgorithm> {
        match self {
            Self::EcdsaP256 => Some(&ECDSA_P256_SHA256_ASN1_SIGNING),
            Self::EcdsaP384 => Some(&ECDSA_P384_SHA384_ASN1_SIGNING),
            Self::EcdsaP521 => Some(&ECDSA_P521_SHA512_ASN1_SIGNING),
            Self::MlDsa65 => None,
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::EcdsaP256 => &ECDSA_P256_SHA256_ASN1,
            Self::EcdsaP384 => &ECDSA_P384_SHA384_ASN1,
            Self::EcdsaP521 => &ECDSA_P521_SHA512_ASN1,
            Self::MlDsa65 => &ML_DSA_65,
        }
    }
}

impl SigningKey {
    /// A new key from the system's random generator.
    ///
    /// # Errors
    /// [`Error::Generate`] when there is no randomness.
    pub fn generate(key_type: KeyType) -> Result<Self, Error> {
        let pair = match key_type.ecdsa() {
            Some(algorithm) => EcdsaKeyPair::generate(algorithm).map(Pair::Ecdsa),
            None => PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).map(|pair| Pair::MlDsa(Box::new(pair))),
        };
        pair.ok().and_then(|pair| Self::of(key_type, pair)).ok_or(Error::Generate)
    }

    /// Reads a private key from the PEM file at `path`: PKCS#8, plain or under `password`, or SEC1.
    ///
    /// # Errors
    /// [`Error::Exposed`] on Unix when group or others have any permission on the file, [`Error::Password`] when it is
    /// encrypted and there is no password or another one, [`Error::Malformed`] when it is no such key, [`Error::Io`].
    pub fn load(path: &Path, password: Option<&Secret<Vec<u8>>>) -> Result<Self, Error> {
        const EXPECTED: &str = "a private key (ECDSA P-256, P-384, P-521 or ML-DSA-65) in PEM";
        let malformed = || Error::Malformed { path: path.into(), expected: EXPECTED };
        let text = Secret::new(super::read(path, true)?);
        let blocks = Secret::new(pem::blocks(text.expose()).ok_or_else(malformed)?);
        // `openssl ecparam -genkey` writes the curve before the key.
        let mut blocks = blocks.expose().iter().filter(|(label, _)| label != "EC PARAMETERS");
        let (Some((label, der)), None) = (blocks.next(), blocks.next()) else { return Err(malformed()) };
        let key = match label.as_str() {
            "PRIVATE KEY" => Self::from_pkcs8(der),
            "EC PRIVATE KEY" => Self::from_sec1(der),
            pbes2::LABEL => {
                let refused = || Error::Password { path: path.into(), given: password.is_some() };
                let opened = password.and_then(|password| pbes2::open(der, password)).ok_or_else(refused)?;
                Self::from_pkcs8(opened.expose())
            }
            _ => None,
        };
        key.ok_or_else(malformed)
    }

    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let ecdsa = KeyType::ALL.into_iter().find_map(|key_type| {
            let pair = EcdsaKeyPair::from_pkcs8(key_type.ecdsa()?, der).ok()?;
            Self::of(key_type, Pair::Ecdsa(pair))
        });
        ecdsa.or_else(|| {
            let pair = PqdsaKeyPair::from_pkcs8(&ML_DSA_65_SIGNING, der).ok()?;
            Self::of(KeyType::MlDsa65, Pair::MlDsa(Box::new(pair)))
        })
    }

    fn from_sec1(der: &[u8]) -> Option<Self> {
        KeyType::ALL.into_iter().find_map(|key_type| {
            let pair = EcdsaKeyPair::from_private_key_der(key_type.ecdsa()?, der).ok()?;
            Self::of(key_type, Pair::Ecdsa(pair))
        })
    }

    fn of(key_type: KeyType, pair: Pair) -> Option<Self> {
        let point = match &pair {
            Pair::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::MlDsa(pair) => pair.public_key().as_ref().to_vec(),
        };
        let public = VerifyingKey::from_raw(key_type, &point)?;
        Some(Self { key_type, pair: Secret::new(pair), public })
    }

    /// Writes the private key as PKCS#8 PEM with mode 0600, under `password` if one is given. The file appears whole or not
    /// at all. ML-DSA keys are written in seed form (RFC 9881, section 6).
    ///
    /// # Errors
    /// [`Error::Exists`] when there is a file at `path`, which is left as it is; [`Error::Io`].
    pub fn save(&self, path: &Path, password: Option<&Secret<Vec<u8>>>) -> Result<(), Error> {
        let der = match self.pair.expose() {
            Pair::Ecdsa(pair) => pair.to_pkcs8v1(),
            Pair::MlDsa(pair) => pair.to_pkcs8v1(),
        };
        let der = Secret::new(der.map_err(|_| Error::Generate)?.as_ref().to_vec());
        let text = match password {
            None => pem::encode(der.expose(), "PRIVATE KEY"),
            Some(password) => pem::encode(&pbes2::seal(der.expose(), password).ok_or(Error::Generate)?, pbes2::LABEL),
        };
        super::write_new(path, Secret::new(text).expose().as_bytes(), 0o600)
    }

    /// Its kind.
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The public key.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// The signature of `message`: DER for ECDSA, 3,309 bytes for ML-DSA-65. Two signatures of one message differ.
    ///
    /// # Errors
    /// [`Error::Generate`] when the system gives no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match self.pair.expose() {
            Pair::Ecdsa(pair) => pair.sign(&SystemRandom::new(), message).map(|signature| signature.as_ref().to_vec()),
            Pair::MlDsa(pair) => {
                let mut signature = vec![0; ML_DSA_65_SIGNING.signature_len()];
                pair.sign(message, &mut signature).map(|_| signature)
            }
        }
        .map_err(|_| Error::Generate)
    }
}

impl VerifyingKey {
    /// Reads a public key from the PEM file at `path`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is not the SPKI of a key of these kinds; [`Error::Io`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let expected = "a public key (ECDSA P-256, P-384, P-521 or ML-DSA-65) in PEM";
        Self::from_pem(&super::read(path, false)?).ok_or(Error::Malformed { path: path.into(), expected })
    }

    /// Writes the key as SPKI PEM.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        super::write_new(path, self.to_pem().as_bytes(), 0o644)
    }

    /// The key in SPKI PEM `text`, or `None` when it is anything else. Compressed points are not read.
    pub fn from_pem(text: &[u8]) -> Option<Self> {
        Self::from_spki(&pem::decode(text, "PUBLIC KEY")?)
    }

    /// The key in a SubjectPublicKeyInfo.
    pub fn from_spki(spki: &[u8]) -> Option<Self> {
        SPKI_PREFIXES.into_iter().find_map(|(key_type, prefix, _)| Self::from_raw(key_type, spki.strip_prefix(prefix)?))
    }

    /// The key in its raw form: an uncompressed point, or the 1,952 bytes of ML-DSA-65.
    fn from_raw(key_type: KeyType, raw: &[u8]) -> Option<Self> {
        let (_, prefix, raw_bytes) = SPKI_PREFIXES.into_iter().find(|(of, _, _)| *of == key_type)?;
        let is_uncompressed = key_type.is_post_quantum() || raw.first() == Some(&0x04);
        (raw.len() == raw_bytes && is_uncompressed).then(|| Self { key_type, spki: [prefix, raw].concat() })
    }

    /// The key in SPKI PEM: lines of 64 characters and a final newline, as every tool writes it.
    pub fn to_pem(&self) -> String {
        pem::encode(&self.spki, "PUBLIC KEY")
    }

    fn raw(&self) -> &[u8] {
        let prefix = SPKI_PREFIXES.into_iter().find(|(of, _, _)| *of == self.key_type).map_or(0, |(_, p, _)| p.len());
        self.spki.get(prefix..).unwrap_or_default()
    }

    /// The name Model Signing gives it: hexadecimal SHA-256 of the PEM text.
    pub fn hint(&self) -> String {
        hash::sha256(self.to_pem().as_bytes()).to_string()
    }

    /// Its name among signatures: kind and hexadecimal SHA-256 of the raw key.
    pub fn key_id(&self) -> String {
        format!("{}:{}", self.key_type.as_str(), hash::sha256(self.raw()))
    }

    /// Whether `signature` is this key's signature of `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.key_type.verification(), self.raw()).verify(message, signature).is_ok()
    }
}

#[cfg(test)]
mod second_implementation;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn openssl(dir: &Path, arguments: &str) {
        let run = Command::new("openssl").current_dir(dir).args(arguments.split(' ')).output().unwrap();
        assert!(run.status.success(), "{arguments}: {}", String::from_utf8_lossy(&run.stderr));
    }

    #[test]
    fn every_kind_signs_for_its_saved_public_key_and_no_other() {
        for key_type in KeyType::ALL {
            let dir = tempfile::tempdir().unwrap();
            let (private, public) = (dir.path().join("key.pem"), dir.path().join("key.pub.pem"));
            let key = SigningKey::generate(key_type).unwrap();
            key.save(&private, None).unwrap();
            key.public().save(&public).unwrap();
            let signature = SigningKey::load(&private, None).unwrap().sign(b"message").unwrap();
            let loaded = VerifyingKey::load(&public).unwrap();
            assert_eq!(&loaded, key.public());
            assert!(loaded.verifies(b"message", &signature));
            assert!(!loaded.verifies(b"massage", &signature));
            let other = SigningKey::generate(key_type).unwrap();
            assert!(!other.public().verifies(b"message", &signature));
            for cut in [0, 1, signature.len() - 1] {
                assert!(!loaded.verifies(b"message", &signature[..cut]));
            }
            assert!(!format!("{key:?}").contains("KeyPair"));
        }
    }

    #[test]
    fn a_password_opens_what_it_closed_and_another_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let (right, wrong) = (Secret::new(b"right".to_vec()), Secret::new(b"wrong".to_vec()));
        let key = SigningKey::generate(KeyType::EcdsaP384).unwrap();
        key.save(&path, Some(&right)).unwrap();
        assert_eq!(SigningKey::load(&path, Some(&right)).unwrap().public(), key.public());
        assert!(matches!(SigningKey::load(&path, Some(&wrong)), Err(Error::Password { given: true, .. })));
        assert!(matches!(SigningKey::load(&path, None), Err(Error::Password { given: false, .. })));
    }

    #[test]
    #[ignore = "needs openssl: cargo xtask test"]
    fn keys_that_openssl_made_are_read_in_every_form() {
        let dir = tempfile::tempdir().unwrap();
        for (curve, key_type) in
            [("prime256v1", KeyType::EcdsaP256), ("secp384r1", KeyType::EcdsaP384), ("secp521r1", KeyType::EcdsaP521)]
        {
            let path = |name: &str| dir.path().join(format!("{curve}-{name}.pem"));
            openssl(dir.path(), &format!("ecparam -name {curve} -genkey -out {curve}-sec1.pem"));
            openssl(dir.path(), &format!("pkcs8 -topk8 -nocrypt -in {curve}-sec1.pem -out {curve}-pkcs8.pem"));
            openssl(
                dir.path(),
                &format!("pkcs8 -topk8 -in {curve}-sec1.pem -out {curve}-closed.pem -passout pass:x -iter 1000"),
            );
            openssl(dir.path(), &format!("ec -in {curve}-sec1.pem -pubout -out {curve}-pub.pem"));
            #[cfg(unix)]
            for name in ["sec1", "pkcs8", "closed"] {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
            }
            let public = VerifyingKey::load(&path("pub")).unwrap();
            assert_eq!(public.key_type, key_type);
            assert_eq!(public.to_pem(), std::fs::read_to_string(path("pub")).unwrap());
            let password = Secret::new(b"x".to_vec());
            for name in ["sec1", "pkcs8", "closed"] {
                let key = SigningKey::load(&path(name), Some(&password)).unwrap();
                assert_eq!(key.public(), &public, "{name}");
            }
            // What is written here is read there.
            let ours = SigningKey::load(&path("sec1"), None).unwrap();
            ours.save(&path("ours"), Some(&password)).unwrap();
            openssl(dir.path(), &format!("pkey -in {curve}-ours.pem -passin pass:x -pubout -out {curve}-again.pem"));
            assert_eq!(std::fs::read_to_string(path("again")).unwrap(), public.to_pem());
        }
    }

    #[test]
    fn ml_dsa_keys_have_the_forms_of_rfc_9881() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let key = SigningKey::generate(KeyType::MlDsa65).unwrap();
        key.save(&path, None).unwrap();
        // Seed form: version, the algorithm, and 32 bytes under the context tag 0.
        let der = pem::decode(&std::fs::read(&path).unwrap(), "PRIVATE KEY").unwrap();
        assert_eq!(der.len(), 54);
        assert_eq!(&der[18..22], [0x04, 0x22, 0x80, 0x20]);
        let spki = pem::decode(key.public().to_pem().as_bytes(), "PUBLIC KEY").unwrap();
        assert_eq!(spki.len(), 22 + 1952);
        assert!(key.public().key_id().starts_with("ml-dsa-65:"));
        assert_eq!(key.sign(b"").unwrap().len(), 3309);
    }

    #[test]
    fn other_keys_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ed25519.pem");
        crate::KeyPair::generate().unwrap().save(&path).unwrap();
        assert!(matches!(SigningKey::load(&path, None), Err(Error::Malformed { .. })));
        let public = crate::KeyPair::generate().unwrap().public().to_pem();
        assert_eq!(VerifyingKey::from_pem(public.as_bytes()), None);
    }
}
