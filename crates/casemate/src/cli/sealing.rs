//! Arguments of `seal`, `open`, `rewrap` and `crypto-erase`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `seal`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate keygen --type aes-256-kek -o kek.pem\n  casemate seal model.safetensors --key kek.pem                    writes model.safetensors.cmv\n  casemate seal model/ -o sealed/ --recipient age1… --recipient release.pub.pem\n  casemate seal model/ -o sealed/ --passphrase-file pass.txt --remove\n  casemate seal model/ -o sealed/ --key hashivault://model-kek\n\nA file becomes one sealed file (AES-256-GCM in chunks under a data key of its own), a directory a directory of them. Every key given\nopens it by itself. In a project with a ledger a record links the model's digest with that of the sealed files.\n\nExit codes: 0 sealed · 2 usage · 3 something could not be read or written"
)]
pub struct SealArgs {
    /// Files and directories.
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Keys it is sealed for.
    #[command(flatten)]
    pub to: RecipientArgs,
    /// Remove the plaintext once what was written was opened again and verified. Its blocks stay on the disk until reused.
    #[arg(long)]
    pub remove: bool,
    /// Replace sealed files that are there already.
    #[arg(long)]
    pub force: bool,
    /// Do not compute the SHA-256 of the plaintext: several times as fast, and no evidence.
    #[arg(long)]
    pub no_digest: bool,
    /// Do not append evidence to the project's ledger.
    #[arg(long)]
    pub no_record: bool,
}

/// Whom a file is sealed for.
#[derive(Args, Debug)]
pub struct RecipientArgs {
    /// Public key: `age1…`, or a file of age recipients or of `keygen --type mlkem768x25519`; may be repeated.
    #[arg(long, value_name = "RECIPIENT")]
    pub recipient: Vec<String>,
    /// Key-encryption key of `keygen --type aes-256-kek`, or where a service keeps one: hashivault://NAME, awskms:///KEY-ID; may
    /// be repeated.
    #[arg(long, value_name = "KEY")]
    pub key: Vec<PathBuf>,
    /// File whose first line is a passphrase; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Vec<PathBuf>,
}

/// With what a file is opened.
#[derive(Args, Debug)]
pub struct KeyArgs {
    /// Private key of any kind: aes-256-kek, mlkem768x25519, age identities, hashivault://NAME, awskms:///KEY-ID; may be repeated.
    #[arg(long, value_name = "KEY")]
    pub key: Vec<PathBuf>,
    /// age identities; the same as --key.
    #[arg(long, value_name = "FILE")]
    pub identity: Vec<PathBuf>,
    /// File whose first line is the passphrase; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Vec<PathBuf>,
}

/// Arguments of `open`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate open model.safetensors.cmv -o model.safetensors --key kek.pem\n  casemate open sealed/ -o model/ --identity key.txt\n  casemate open sealed/ --key kek.pem --exec vllm serve {}\n  casemate open model.cmv --key kek.pem --range 0:4096 > head\n\nPlaintext is given out chunk by verified chunk; an output file appears when the last one is verified, readable by its owner only.\nWith --exec the plaintext lies in memory (tmpfs) as long as the command runs; {} in its arguments and CASEMATE_OPENED name the place.\n\nExit codes: 0 opened · 2 usage · 3 something could not be read or written · 4 not as it was sealed, or none of the keys opens it;\nwith --exec that of the command"
)]
pub struct OpenArgs {
    /// Sealed files, or one directory of them.
    #[arg(value_name = "FILE", required = true)]
    pub paths: Vec<PathBuf>,
    /// Keys that may open it.
    #[command(flatten)]
    pub with: KeyArgs,
    /// Only these bytes, to standard output or -o; reads no more than the chunks that hold them.
    #[arg(long, value_name = "OFFSET:LENGTH", value_parser = range, conflicts_with_all = ["exec", "force"])]
    pub range: Option<(u64, u64)>,
    /// Replace files that are there already.
    #[arg(long)]
    pub force: bool,
    /// Run this command with the plaintext in memory; everything behind belongs to it.
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true)]
    pub exec: Vec<String>,
}

/// Arguments of `rewrap`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate rewrap sealed/*.cmv --key old.pem --recipient age1…\n  casemate rewrap model.cmv --key old.pem --recipient new.pem --remove local:0123456789abcdef0123456789abcdef\n\nOnly the head of the file is written, in place, so that a crash loses nothing. Whoever could open the file and kept a copy still can:\nto shut them out, open it and seal it again.\n\nExit codes: 0 done · 2 usage · 3 could not be written · 4 not as it was sealed, or none of the keys opens it"
)]
pub struct RewrapArgs {
    /// Sealed files.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Keys that open it now.
    #[command(flatten)]
    pub with: KeyArgs,
    /// Key that is to open it as well: `age1…`, or a key file of any kind; may be repeated.
    #[arg(long, value_name = "RECIPIENT")]
    pub recipient: Vec<String>,
    /// File whose first line is a passphrase that is to open it as well; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub new_passphrase_file: Vec<PathBuf>,
    /// Take this key away, by the name `rewrap` prints; may be repeated.
    #[arg(long, value_name = "KEK_ID")]
    pub remove: Vec<String>,
}

/// Arguments of `crypto-erase`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate crypto-erase model.cmv --key kek.pem         destroys what opens this file, shows that kek.pem does not any more\n  casemate crypto-erase model.cmv --kek kek.pem         destroys the key file as well\n\nThis cannot be undone. Copies of the sealed file that were made before, and backups of the key, are not reached.\n\nExit codes: 0 destroyed, and opening failed with every key given · 2 usage · 3 could not be written · 4 something still opens"
)]
pub struct EraseArgs {
    /// Sealed files.
    #[arg(value_name = "FILE", required_unless_present = "kek")]
    pub files: Vec<PathBuf>,
    /// Key file to destroy: overwritten and removed; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub kek: Vec<PathBuf>,
    /// Keys that open it now, to show that they do not afterwards.
    #[command(flatten)]
    pub with: KeyArgs,
}

/// `OFFSET:LENGTH` in bytes.
fn range(text: &str) -> Result<(u64, u64), String> {
    let numbers = text.split_once(':').and_then(|(offset, length)| Some((offset.parse().ok()?, length.parse().ok()?)));
    numbers.ok_or_else(|| "give two numbers of bytes, e.g. 0:4096".into())
}
