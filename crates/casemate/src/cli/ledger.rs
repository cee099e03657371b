//! Arguments of `ledger …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `ledger …`
#[derive(Subcommand, Debug)]
pub enum LedgerCommand {
    /// List the records
    Show {
        /// Only this record: index, or id or its beginning.
        record: Option<String>,
    },
    /// Recompute everything, hold it against every anchor, and name whatever was edited, moved or removed
    Verify(LedgerVerifyArgs),
    /// Write a proof that a record is in the ledger, to be checked offline
    #[command(
        after_help = "Examples:\n  casemate ledger prove 17 -o 17.tlog-proof\n  casemate ledger prove 17 -o 17.tlog-proof --envelope 17.json   and the signed evidence itself\n\nThe form is c2sp.org/tlog-proof; `casemate ledger check-proof` checks it without the ledger"
    )]
    Prove {
        /// Index, or id or its beginning.
        record: String,
        /// Write the record's envelope there: the evidence, signed.
        #[arg(long, value_name = "FILE")]
        envelope: Option<PathBuf>,
    },
    /// Write a proof that the ledger continues an earlier checkpoint
    #[command(after_help = "Example:\n  casemate ledger consistency --from witness.seen -o grown.proof")]
    Consistency {
        /// The earlier checkpoint.
        #[arg(long, value_name = "CHECKPOINT")]
        from: PathBuf,
    },
    /// Check a proof file, with a key and without the ledger
    CheckProof(CheckProofArgs),
    /// Print the ledger's public key in one line, or that of a witness
    Key(LedgerKeyArgs),
    /// Be a witness: cosign a head of somebody's ledger that continues all heads seen before
    Witness(WitnessArgs),
    /// Take up what a witness cosigned
    #[command(
        after_help = "Example:\n  casemate ledger cosign cosigned\n\nThe witness's key has to stand in `[trust] witnesses` of casemate.toml"
    )]
    Cosign {
        /// The cosigned checkpoint, or its signature lines.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Keep the present head where whoever writes the ledger cannot change it
    Anchor(AnchorArgs),
}

/// Arguments of `ledger verify`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate ledger verify\n  casemate ledger verify --from last-week.checkpoint --witnesses 1\n\nExit codes: 0 intact · 3 an anchor could not be read · 4 not intact, a bad anchor, or too few witnesses\nFormats: text json"
)]
pub struct LedgerVerifyArgs {
    /// A checkpoint seen before, an exported anchor or a proof file; the ledger must continue it.
    #[arg(long, value_name = "CHECKPOINT")]
    pub from: Option<PathBuf>,
    /// Fail unless so many of the known witnesses cosigned a head of this ledger.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub witnesses: usize,
    /// Authorities whose time stamps count, PEM [default: tsa_roots in casemate.toml].
    #[arg(long, value_name = "CA.pem")]
    pub tsa_roots: Option<PathBuf>,
}

/// Arguments of `ledger check-proof`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate ledger check-proof 17.tlog-proof --key ledger.pub.pem\n  casemate ledger check-proof 17.tlog-proof --key \"$(cat ledger.key)\" --record 17.json --witness \"$(cat witness.key)\"\n  casemate ledger check-proof grown.proof --key ledger.pub.pem --from earlier\n\nExit codes: 0 proven · 2 usage · 3 a file cannot be read · 4 not proven\nFormats: text json"
)]
pub struct CheckProofArgs {
    /// The proof, of inclusion or of consistency.
    #[arg(value_name = "PROOF")]
    pub proof: PathBuf,
    /// Public key of the ledger: a PEM file, or the line of `casemate ledger key` or a file with it, which also fixes the
    /// ledger's name.
    #[arg(long, value_name = "KEY")]
    pub key: String,
    /// The envelope that the proof is about; it must be the one recorded.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// The earlier checkpoint that a proof of consistency starts from.
    #[arg(long, value_name = "CHECKPOINT")]
    pub from: Option<PathBuf>,
    /// Public key of a witness that must have cosigned, in one line; may be given again.
    #[arg(long, value_name = "KEY")]
    pub witness: Vec<String>,
}

/// Arguments of `ledger key`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate ledger key > ledger.key\n  casemate keygen --type ml-dsa-44 -o witness.pem\n  casemate ledger key --witness witness.pem --name witness.example/w1"
)]
pub struct LedgerKeyArgs {
    /// Private key of a witness, PEM: Ed25519 or ML-DSA-44.
    #[arg(long, value_name = "KEY.pem", requires = "name")]
    pub witness: Option<PathBuf>,
    /// Name of the witness, like an address without scheme.
    #[arg(long, requires = "witness")]
    pub name: Option<String>,
}

/// Arguments of `ledger witness`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate ledger witness checkpoint --ledger-key ledger.key --key w.pem --name witness.example/w1 --seen acme.seen --begin -o cosigned\n  casemate ledger witness grown.proof --ledger-key ledger.key --key w.pem --name witness.example/w1 --seen acme.seen -o cosigned\n\nRefuses a smaller head and one that does not continue the last. The file of --seen is what the next proof starts from:\n`casemate ledger consistency --from acme.seen`\n\nExit codes: 0 cosigned · 2 usage · 3 a proof is missing or a file cannot be read · 4 refused"
)]
pub struct WitnessArgs {
    /// A checkpoint, a proof of consistency, or the directory of a ledger.
    #[arg(value_name = "HEAD")]
    pub head: PathBuf,
    /// Public key of the ledger: a PEM file, or the line of `casemate ledger key` or a file with it.
    #[arg(long, value_name = "KEY")]
    pub ledger_key: String,
    /// Private key of this witness, PEM: Ed25519 or ML-DSA-44.
    #[arg(long, value_name = "KEY.pem")]
    pub key: PathBuf,
    /// Name of this witness, like an address without scheme.
    #[arg(long)]
    pub name: String,
    /// File that keeps the largest head seen of this ledger.
    #[arg(long, value_name = "FILE")]
    pub seen: PathBuf,
    /// Begin with a ledger that was never seen.
    #[arg(long)]
    pub begin: bool,
}

/// Arguments of `ledger anchor`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate ledger anchor --file /mnt/worm/ledger         a file, or a directory that gets one a head\n  casemate ledger anchor --git-note && git push origin refs/notes/casemate\n  casemate ledger anchor --rfc3161 request.tsq\n  curl --data-binary @request.tsq -H 'content-type: application/timestamp-query' https://tsa.example -o response.tsr\n  casemate ledger anchor --rfc3161-response response.tsr\n\nName the places under `[ledger]` of casemate.toml, and `casemate ledger verify` checks each of them"
)]
#[group(required = true, multiple = true)]
pub struct AnchorArgs {
    /// Write the checkpoint there; in a directory, under a name of its own.
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Attach the checkpoint to the commit that is checked out, as a git note under refs/notes/casemate.
    #[arg(long)]
    pub git_note: bool,
    /// Write a request for a time stamp on the checkpoint (RFC 3161).
    #[arg(long, value_name = "REQUEST.tsq")]
    pub rfc3161: Option<PathBuf>,
    /// Take up the answer to such a request.
    #[arg(long, value_name = "RESPONSE.tsr")]
    pub rfc3161_response: Option<PathBuf>,
}
