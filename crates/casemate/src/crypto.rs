//! The inventory of cryptography: every algorithm and key in use, what for, and whether quantum computers are known to break it.
//!
//! Nobody can migrate what nobody has listed, so what is found is held against a list of algorithms known here ([`ALGORITHMS`]):
//! a key file or signature of any other kind is reported as unlisted, not left out. Found are the keys of the state directory
//! and of `[trust]`, the signatures of declared models, the ledger's heads and evidence, and what the HTTP client really offers
//! in TLS. Private keys are named by their public half and opened only where that is missing. Sources: FIPS 203 to 205 for what
//! withstands quantum computers; CycloneDX CBOM for what an inventory has to say.

mod keys;

use std::collections::BTreeSet;
use std::path::Path;

use casemate_provenance::keys::certificate::Certificate;
use casemate_provenance::keys::signing::VerifyingKey;
use casemate_provenance::oms::bundle::{Bundle, Material};
use casemate_provenance::oms::payload::Signed;
use casemate_provenance::oms::{self, Signer, Trusted};
use rustls::crypto::CryptoProvider;
use serde::Serialize;

use crate::context::Project;
use crate::exit::Failure;
use crate::state::State;
use crate::verifying::{key_failure, read_signature};

/// An algorithm known here.
struct Algorithm {
    name: &'static str,
    standard: &'static str,
    quantum_safe: bool,
}

/// Every algorithm this build can use, and what withstands quantum computers: with symmetric ones, that Grover's search
/// leaves enough of the key (NIST categories 1 and up).
const ALGORITHMS: &[Algorithm] = &[
    algorithm("ecdsa-p256", "FIPS 186-5", false),
    algorithm("ecdsa-p384", "FIPS 186-5", false),
    algorithm("ecdsa-p521", "FIPS 186-5", false),
    algorithm("ed25519", "RFC 8032", false),
    algorithm("ml-dsa-44", "FIPS 204", true),
    algorithm("ml-dsa-65", "FIPS 204", true),
    algorithm("x25519", "RFC 7748", false),
    algorithm("secp256r1", "SP 800-56A", false),
    algorithm("secp384r1", "SP 800-56A", false),
    algorithm("x25519mlkem768", "draft-ietf-tls-ecdhe-mlkem, FIPS 203", true),
    algorithm("secp256r1mlkem768", "draft-ietf-tls-ecdhe-mlkem, FIPS 203", true),
    algorithm("aes-128-gcm", "SP 800-38D", true),
    algorithm("aes-256-gcm", "SP 800-38D", true),
    algorithm("chacha20-poly1305", "RFC 8439", true),
    algorithm("sha-256", "FIPS 180-4", true),
    algorithm("blake3", "BLAKE3 paper", true),
    algorithm("hmac-sha-256", "RFC 2104", true),
];

const fn algorithm(name: &'static str, standard: &'static str, quantum_safe: bool) -> Algorithm {
    Algorithm { name, standard, quantum_safe }
}

/// One use of an algorithm or key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Use {
    /// What for.
    pub purpose: String,
    /// Its name, or what is known of one that is not listed.
    pub algorithm: String,
    /// The document that defines it.
    pub standard: Option<&'static str>,
    /// Name of the key, where there is one.
    pub key_id: Option<String>,
    /// Whether there is a key, so that a missing name is a gap.
    pub has_key: bool,
    /// Where it was found.
    pub place: String,
    /// Whether quantum computers are not known to break it; `None` for what is not listed.
    pub quantum_safe: Option<bool>,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct CryptoInventory {
    /// Every use.
    pub uses: Vec<Use>,
    /// Whether every declared model has a verified signature of a post-quantum scheme beside the classical one.
    pub signatures_hybrid: bool,
    /// Whether the key exchange that connections prefer is a hybrid with a post-quantum scheme.
    pub tls_hybrid: bool,
    /// What could not be read, in one line each.
    pub unread: Vec<String>,
}

impl Use {
    fn new(purpose: &str, algorithm: &str, place: &str) -> Self {
        let known = ALGORITHMS.iter().find(|known| known.name == algorithm);
        Self {
            purpose: purpose.into(),
            algorithm: algorithm.into(),
            standard: known.map(|known| known.standard),
            key_id: None,
            has_key: false,
            place: place.into(),
            quantum_safe: known.map(|known| known.quantum_safe),
        }
    }

    fn with_key(mut self, key_id: Option<String>) -> Self {
        (self.has_key, self.key_id) = (true, key_id);
        self
    }

    /// Whether it is of a kind known here.
    pub fn is_listed(&self) -> bool {
        self.quantum_safe.is_some()
    }
}

impl CryptoInventory {
    /// Different algorithms, listed ones alone.
    pub fn algorithms(&self) -> BTreeSet<&str> {
        self.uses.iter().filter(|one| one.is_listed()).map(|one| one.algorithm.as_str()).collect()
    }

    /// Uses of what is not listed.
    pub fn unlisted(&self) -> usize {
        self.uses.iter().filter(|one| !one.is_listed()).count()
    }

    /// Keys that nobody could name.
    pub fn keys_without_id(&self) -> usize {
        self.uses.iter().filter(|one| one.has_key && one.key_id.is_none()).count()
    }
}

/// Lists what the project uses.
///
/// # Errors
/// When a key that `[trust]` names cannot be read.
pub fn inventory(project: &Project) -> Result<CryptoInventory, Failure> {
    let mut found = CryptoInventory::default();
    keys::in_directory(&project.state.join("keys"), &mut found);
    let trusted = trusted(project, &mut found)?;
    if State::exists(project) {
        ledger(&State::open_existing(project)?, &mut found);
    }
    signatures(project, &trusted, &mut found);
    for (purpose, algorithm) in [
        ("digests of files, models, envelopes and records", "sha-256"),
        ("digests of files in signed lists, on request", "blake3"),
    ] {
        found.uses.push(Use::new(purpose, algorithm, "this program"));
    }
    tls(&crate::remote::client::provider(), &mut found);
    Ok(found)
}

/// The keys that `[trust]` names.
struct TrustedKeys {
    first: Vec<VerifyingKey>,
    second: Option<VerifyingKey>,
}

fn trusted(project: &Project, found: &mut CryptoInventory) -> Result<TrustedKeys, Failure> {
    let trust = &project.config.trust;
    let mut load = |path: &String, purpose: &str| {
        let key = VerifyingKey::load(&project.root.join(path)).map_err(|error| key_failure(&error))?;
        let one = Use::new(purpose, key.key_type.as_str(), path).with_key(Some(key.key_id()));
        found.uses.push(one);
        Ok(key)
    };
    let first = trust.keys.iter().map(|path| load(path, "verifies models")).collect::<Result<_, _>>()?;
    let second = trust.pq_key.as_ref().map(|path| load(path, "verifies models, second signature")).transpose()?;
    Ok(TrustedKeys { first, second })
}

fn ledger(state: &State, found: &mut CryptoInventory) {
    let trust = state.ledger().trust();
    let key = |purpose: &str, id: String| Use::new(purpose, "ed25519", "ledger").with_key(Some(id));
    let named = format!("ed25519:{}", trust.ledger.key.key_id());
    found.uses.push(key("signs heads of the ledger", named));
    for evidence in &trust.evidence {
        found.uses.push(key("signs evidence (DSSE envelopes)", format!("ed25519:{}", evidence.key_id())));
    }
    for witness in &trust.witnesses {
        let algorithm = if witness.is_post_quantum() { "ml-dsa-44" } else { "ed25519" };
        let one = Use::new(&format!("verifies witness {}", witness.name), algorithm, "casemate.toml");
        found.uses.push(one.with_key(Some(witness.key_id())));
    }
}

/// The signatures of declared models, and whether each of them is hybrid and holds.
fn signatures(project: &Project, trusted: &TrustedKeys, found: &mut CryptoInventory) {
    let models = &project.config.models;
    let mut hybrid = !models.is_empty();
    for model in models {
        let Some(shown) = &model.signature else {
            hybrid = false;
            continue;
        };
        match read_signature(&project.root.join(shown)) {
            Ok(bytes) => {
                let purpose = format!("signs model {}", model.name);
                match uses_in_bundle(&bytes, &purpose, shown, trusted) {
                    Some(uses) => found.uses.extend(uses),
                    None => found.unread.push(format!("`{shown}` is no signature file that can be read")),
                }
                hybrid &= is_hybrid(&bytes, trusted);
            }
            Err(failure) => {
                found.unread.push(failure.message);
                hybrid = false;
            }
        }
    }
    found.signatures_hybrid = hybrid;
}

/// Whether both signatures of a bundle hold; what is signed names both, so neither can be taken away.
fn is_hybrid(bytes: &[u8], trusted: &TrustedKeys) -> bool {
    trusted.second.is_some()
        && trusted.first.iter().any(|key| {
            let (signer, pq_key) = (Signer::Key(key.clone()), trusted.second.clone());
            oms::open(bytes, &Trusted { signer, pq_key, require_pq: true, allow_legacy: false }).is_ok()
        })
}

/// Every signature of a bundle, by what it says of itself; `None` when it is none.
fn uses_in_bundle(bytes: &[u8], purpose: &str, place: &str, trusted: &TrustedKeys) -> Option<Vec<Use>> {
    let bundle = Bundle::parse(bytes).ok()?;
    let signed = Signed::parse(&bundle.payload, true).ok()?;
    let mut uses = Vec::new();
    for (n, signature) in bundle.signatures.iter().enumerate() {
        let one = match signature.keyid.split_once(':') {
            Some((algorithm, _)) => Use::new(purpose, algorithm, place).with_key(Some(signature.keyid.clone())),
            None => {
                let key = if n == 0 { signer_key(&bundle.material, trusted) } else { None };
                let named = signed.required_signatures.get(n).map(String::as_str).unwrap_or("ecdsa, curve not known");
                let algorithm = key.as_ref().map_or(named, |key| key.key_type.as_str());
                let hint = match &bundle.material {
                    Material::PublicKey { hint } => hint.as_ref().map(|hint| format!("hint:{hint}")),
                    Material::Certificates(_) => None,
                };
                Use::new(purpose, algorithm, place).with_key(key.map(|key| key.key_id()).or(hint))
            }
        };
        uses.push(one);
    }
    Some(uses)
}

fn signer_key(material: &Material, trusted: &TrustedKeys) -> Option<VerifyingKey> {
    match material {
        Material::PublicKey { hint } => {
            trusted.first.iter().find(|key| hint.as_deref() == Some(key.hint().as_str())).cloned()
        }
        Material::Certificates(chain) => chain.first().and_then(|leaf| Certificate::parse(leaf))?.key,
    }
}

/// What a client with `provider` offers, in the order it prefers.
fn tls(provider: &CryptoProvider, found: &mut CryptoInventory) {
    const PLACE: &str = "HTTP client";
    let groups: Vec<String> =
        provider.kx_groups.iter().map(|group| format!("{:?}", group.name()).to_ascii_lowercase()).collect();
    found.tls_hybrid = groups.first().is_some_and(|first| first.contains("mlkem"));
    found.uses.extend(groups.iter().map(|group| Use::new("key exchange of connections", group, PLACE)));
    let mut ciphers = BTreeSet::new();
    for suite in &provider.cipher_suites {
        let name = format!("{:?}", suite.suite()).to_ascii_lowercase().replace('_', "-");
        let known =
            ["aes-128-gcm", "aes-256-gcm", "chacha20-poly1305"].into_iter().find(|cipher| name.contains(cipher));
        ciphers.insert(known.map_or(name.clone(), ToOwned::to_owned));
    }
    found.uses.extend(ciphers.iter().map(|cipher| Use::new("encryption of connections", cipher, PLACE)));
}

/// Plants a key of a kind nobody lists and a provider of classical key exchange alone: how many defects that is, and how many
/// of them are found.
pub fn self_test() -> (u64, u64) {
    let key_is_found = keys::planted().unlisted() == 1;
    let mut classical = crate::remote::client::provider();
    classical.kx_groups.retain(|group| !format!("{:?}", group.name()).contains("MLKEM"));
    let mut offered = CryptoInventory::default();
    tls(&classical, &mut offered);
    (2, u64::from(key_is_found) + u64::from(!offered.tls_hybrid && !offered.uses.is_empty()))
}

/// Where a path is shown from.
fn shown(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
