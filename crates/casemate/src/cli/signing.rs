//! Arguments of `keygen`, `sign` and `verify`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `keygen`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate keygen --type ecdsa-p256 -o release.pem\n  casemate keygen --type ml-dsa-65 -o release-pq.pem --password-file pass.txt\n\nWrites KEY.pem (mode 0600) and KEY.pub.pem; never overwrites a key"
)]
pub struct KeygenArgs {
    /// Kind of key; ecdsa-p256 is the first signature of a model, ml-dsa-65 the second.
    #[arg(long = "type", value_name = "TYPE", default_value = "ecdsa-p256")]
    pub key_type: KeyKind,
    /// File that holds a password to encrypt the private key with (its first line).
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// Kinds of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// ECDSA on P-256: what every verifier reads.
    #[value(name = "ecdsa-p256")]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// ECDSA on P-521.
    EcdsaP521,
    /// Ed25519: evidence and ledgers, not models.
    Ed25519,
    /// ML-DSA-44: post-quantum, for witnesses of ledgers.
    #[value(name = "ml-dsa-44")]
    MlDsa44,
    /// ML-DSA-65: the post-quantum signature beside an ECDSA one.
    #[value(name = "ml-dsa-65")]
    MlDsa65,
}

/// Hash functions of a signed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HashKind {
    /// Verified by every tool.
    Sha256,
    /// Four times as fast; the reference verifies it through Python only, not through its command line.
    Blake3,
}

/// Arguments of `sign`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate sign model/ --key release.pem\n  casemate sign model/ --key release.pem --pq-key release-pq.pem --signature model.sig\n\nThe signature is an OpenSSF Model Signing v1.0 bundle; `model_signing verify key` of the reference verifies it"
)]
pub struct SignArgs {
    /// Model: a directory or a file.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Private key, PEM: ECDSA P-256, P-384 or P-521.
    #[arg(long, value_name = "KEY.pem")]
    pub key: PathBuf,
    /// Certificate of the key, PEM; verifiers then need roots and a name instead of the key.
    #[arg(long, value_name = "LEAF.pem")]
    pub certificate: Option<PathBuf>,
    /// Certificates between it and a root, PEM; may be given again.
    #[arg(long, value_name = "CA.pem", requires = "certificate")]
    pub chain: Vec<PathBuf>,
    /// Private key of a second, post-quantum signature, PEM: ML-DSA-65.
    #[arg(long, value_name = "PQ.pem")]
    pub pq_key: Option<PathBuf>,
    /// Where the signature goes.
    #[arg(long, value_name = "FILE", default_value = "model.sig")]
    pub signature: PathBuf,
    /// Hash of the files.
    #[arg(long, value_name = "HASH", default_value = "sha256")]
    pub hash: HashKind,
    /// Path inside the model to leave out, with what lies below; may be given again.
    #[arg(long, value_name = "PATH")]
    pub ignore: Vec<String>,
    /// File that holds the password of encrypted keys (its first line).
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// Arguments of `verify`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate verify model/ --signature model.sig --key release.pub.pem\n  casemate verify model/ --key release.pub.pem --pq-key release-pq.pub.pem --require-pq\n  casemate verify model/ --roots company-ca.pem --identity release@example.com\n  casemate verify model/ --key release.pub.pem --partial config.json\n\nNames every file that was changed, added or removed, and every one the signature does not cover.\nExit codes: 0 verified · 2 usage · 3 a file cannot be read · 4 signature or files are not as signed\nFormats: text json"
)]
pub struct VerifyArgs {
    /// Model: a directory or a file.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The signature.
    #[arg(long, value_name = "FILE", default_value = "model.sig")]
    pub signature: PathBuf,
    /// Public key of the signer, PEM.
    #[arg(long, value_name = "PUB.pem", required_unless_present = "roots", conflicts_with = "roots")]
    pub key: Option<PathBuf>,
    /// Authorities whose certificates count, PEM; no others do.
    #[arg(long, value_name = "CA.pem", requires = "identity")]
    pub roots: Option<PathBuf>,
    /// Whom the certificate must name, exactly: an e-mail address, URI or host name, or the common name where it has none.
    #[arg(long, value_name = "NAME", requires = "roots")]
    pub identity: Option<String>,
    /// Public key of the signer's second signature, PEM.
    #[arg(long, value_name = "PQ.pub.pem")]
    pub pq_key: Option<PathBuf>,
    /// Fail unless there is a good post-quantum signature.
    #[arg(long, requires = "pq_key")]
    pub require_pq: bool,
    /// Only this file of the model; may be given again. What was not looked at is counted, and no evidence of the whole.
    #[arg(long, value_name = "PATH")]
    pub partial: Vec<String>,
    /// Fail on any file the signature does not cover, loadable or not.
    #[arg(long)]
    pub strict: bool,
    /// Read signatures of releases before v1.0 of the specification.
    #[arg(long)]
    pub allow_legacy: bool,
}
