//! Arguments of `keygen`, `sign` and `verify`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::watching::WatchArgs;

/// Arguments of `keygen`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate keygen --type ecdsa-p256 -o release.pem\n  casemate keygen --type ml-dsa-65 -o release-pq.pem --password-file pass.txt\n  casemate keygen --type aes-256-kek -o kek.pem\n\nWrites KEY.pem (mode 0600) and KEY.pub.pem, the latter where there is a public half; never overwrites a key"
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
    /// Key-encryption key for `seal`: 32 random bytes, no public half.
    #[value(name = "aes-256-kek")]
    Aes256Kek,
    /// Key for `seal` whose public half seals: X25519 and ML-KEM-768 together.
    #[value(name = "mlkem768x25519")]
    Mlkem768X25519,
}

/// Hash functions of a signed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HashKind {
    /// Verified by every tool.
    Sha256,
    /// Four times as fast; the reference verifies it through Python only, not through its command line.
    Blake3,
}

/// How far digests of earlier runs are believed; in a project with a ledger there are some.
#[derive(Args, Debug)]
pub struct ReuseArgs {
    /// Read every file, also those that are known from earlier runs.
    #[arg(long)]
    pub full: bool,
    /// Known files that are drawn at random and read all the same.
    #[arg(long, value_name = "PERCENT", default_value = "0.5", conflicts_with = "full", value_parser = Share::parse)]
    pub sample: Share,
    /// Seed of the draw [default: a fresh one, which is printed].
    #[arg(long, value_name = "N", conflicts_with = "full")]
    pub seed: Option<u64>,
}

/// A share in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(pub u32);

impl Share {
    /// A share given in percent, with at most four digits behind the point.
    fn parse(text: &str) -> Result<Self, String> {
        let number =
            |digits: &str| digits.parse::<u32>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let fraction = number(fraction).filter(|_| fraction.len() <= 4).zip(u32::try_from(fraction.len()).ok());
        let millionths = number(whole).zip(fraction).and_then(|(whole, (fraction, digits))| {
            whole.checked_mul(10_000)?.checked_add(fraction * 10u32.pow(4 - digits))
        });
        match millionths {
            Some(share @ 1..=1_000_000) => Ok(Self(share)),
            _ => Err("a percentage above 0 and up to 100, such as 0.5 or 12".into()),
        }
    }
}

/// Arguments of `sign`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate sign model/ --key release.pem\n  casemate sign model/ --key release.pem --pq-key release-pq.pem --signature model.sig\n  casemate sign model/ --key release.pem --pq-key release-pq.pem --pq-detached\n  casemate sign model/ --key hashivault://release\n  casemate sign model/ --key awskms:///alias/release\n\nKeys in services: hashivault://NAME reads VAULT_ADDR, VAULT_TOKEN, VAULT_NAMESPACE, VAULT_CACERT, VAULT_CLIENT_TIMEOUT and TRANSIT_SECRET_ENGINE_PATH; awskms://[HOST]/KEY-ID reads AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_ENDPOINT_URL_KMS\n\nThe signature is an OpenSSF Model Signing v1.0 bundle; `model_signing verify key` of the reference verifies it\n\nIn a project with a ledger, files that did not change since an earlier run are not read again, a random sample apart; --full reads all, as a release should"
)]
pub struct SignArgs {
    /// Model: a directory or a file.
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Private key, PEM: ECDSA P-256, P-384 or P-521; or one in a service: hashivault://NAME, awskms:///KEY-ID.
    #[arg(long, value_name = "KEY.pem|ADDRESS")]
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
    /// Write the post-quantum signature to a file of its own, for verifiers that want one signature; `model.pq.sig` beside `model.sig`.
    #[arg(long, value_name = "FILE", requires = "pq_key", num_args = 0..=1, require_equals = true)]
    pub pq_detached: Option<Option<PathBuf>>,
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
    /// What is read.
    #[command(flatten)]
    pub reuse: ReuseArgs,
}

/// Arguments of `verify`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate verify model/ --signature model.sig --key release.pub.pem\n  casemate verify model/ --key release.pub.pem --pq-key release-pq.pub.pem --require-pq\n  casemate verify model/ --key release.pub.pem --pq-key release-pq.pub.pem --pq-signature model.pq.sig\n  casemate verify model/ --key hashivault://release\n  casemate verify model/ --roots company-ca.pem --identity release@example.com\n  casemate verify model/ --key release.pub.pem --partial config.json\n  casemate verify model/ --key release.pub.pem --full    every file is read, before loading\n  casemate verify --watch --webhook https://alerts.example.com/hook\n  casemate verify model/ --key release.pub.pem --watch --events integrity.jsonl --on-event ./page-somebody\n\nNames every file that was changed, added or removed, and every one the signature does not cover.\n\nIn a project with a ledger, files that did not change since an earlier run are not read again, a random sample apart; --full reads all.\nExit codes: 0 verified · 2 usage · 3 a file cannot be read · 4 signature or files are not as signed;\nwith --watch, by the state when it ends\nFormats: text json"
)]
pub struct VerifyArgs {
    /// Model: a directory or a file.
    #[arg(value_name = "MODEL", required_unless_present = "watch")]
    pub model: Option<PathBuf>,
    /// The signature.
    #[arg(long, value_name = "FILE", default_value = "model.sig")]
    pub signature: PathBuf,
    /// Public key of the signer, PEM, or where a service keeps it: hashivault://NAME[?version=N], awskms:///KEY-ID.
    #[arg(long, value_name = "PUB.pem|ADDRESS", required_unless_present_any = ["roots", "watch"], conflicts_with = "roots")]
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
    /// The post-quantum signature, where it has a file of its own; looked for beside the signature, and must be there if it was signed so.
    #[arg(long, value_name = "FILE")]
    pub pq_signature: Option<PathBuf>,
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
    /// How to watch.
    #[command(flatten)]
    pub watching: WatchArgs,
    /// What is read.
    #[command(flatten)]
    pub reuse: ReuseArgs,
}
