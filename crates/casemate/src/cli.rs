//! The command line: what can be asked, in the order of a model's life.

mod attesting;
mod crypto;
mod ledger;
mod sealing;
mod signing;
mod watching;

use std::path::PathBuf;

use casemate_core::Severity;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::filters::{Filters, Glob};
pub use attesting::{
    ApprovalArgs, AttestCommand, BomArgs, DecisionKind, GateArgs, MakingArgs, ProvenanceArgs, ResultKind, ShowArgs,
    StageArgs, StageKind, StatementKind, SubjectArgs, TestResultArgs, VerifyAttestationsArgs,
};
pub use crypto::CryptoCommand;
pub use ledger::{AnchorArgs, CheckProofArgs, LedgerCommand, LedgerKeyArgs, LedgerVerifyArgs, WitnessArgs};
pub use sealing::{EraseArgs, KeyArgs, OpenArgs, RecipientArgs, RewrapArgs, SealArgs};
pub use signing::{HashKind, KeyKind, KeygenArgs, ReuseArgs, SignArgs, VerifyArgs};

/// Keeps machine-learning models safe from their data to their retirement, and proves it.
#[derive(Parser, Debug)]
#[command(
    name = "casemate",
    version,
    about,
    max_term_width = 100,
    after_help = "Examples:\n  casemate check                       assess the project in this directory\n  casemate scan model.pt               judge one file\n  casemate check -o report.html        write the report as a page\n\nExit codes: 0 passed · 1 policy failed · 2 usage or configuration · 3 could not evaluate · 4 integrity failure"
)]
pub struct Cli {
    /// Everything that stands before the command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Debug, Clone)]
pub struct Globals {
    /// Run as if started in DIR.
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub start_in: Option<PathBuf>,
    /// Configuration file [default: casemate.toml in the project].
    #[arg(long, value_name = "FILE", global = true, env = "CASEMATE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Directory of ledger, keys and caches [default: .casemate beside the configuration].
    #[arg(long, value_name = "DIR", global = true, env = "CASEMATE_STATE")]
    pub state: Option<PathBuf>,
    /// Output format [default: text, or what the ending of -o FILE says].
    #[arg(long, value_name = "FORMAT", global = true, env = "CASEMATE_FORMAT")]
    pub format: Option<Format>,
    /// Write the output to FILE, whole or not at all.
    #[arg(short, long, value_name = "FILE", global = true)]
    pub output: Option<PathBuf>,
    /// Print results only, no progress and no remarks.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say what is being done.
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// Output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a terminal.
    Text,
    /// The contract `casemate.report/v1`.
    Json,
    /// Markdown.
    Markdown,
    /// One self-contained page.
    Html,
    /// SARIF 2.1.0.
    Sarif,
    /// One row a control (check) or finding (scan).
    Csv,
    /// JUnit XML, for the test views of CI systems.
    Junit,
    /// Annotations of GitHub Actions.
    Github,
    /// A badge, SVG.
    Badge,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Write a commented casemate.toml from what is found; create signing keys and ledger
    Init(InitArgs),
    /// Gather all evidence about the project, assess it, print score, risks and what to fix first
    Check(CheckArgs),
    /// Scan model files for code, hidden content and injection
    Scan(ScanArgs),
    /// Find models wherever they lie, and say which of them the project knows
    Inventory(InventoryArgs),
    /// Make a signing key
    Keygen(KeygenArgs),
    /// Sign a model (OpenSSF Model Signing), with a post-quantum signature beside
    Sign(SignArgs),
    /// Verify a signed model: names every file that was changed, added, removed or left out
    Verify(VerifyArgs),
    /// Encrypt models for storage
    Seal(SealArgs),
    /// Decrypt sealed models: into files, into memory for a command, or a range of bytes
    Open(OpenArgs),
    /// Exchange the keys that open sealed files, without touching what is inside
    Rewrap(RewrapArgs),
    /// Destroy the keys of sealed files, and show that nothing opens them any more
    CryptoErase(EraseArgs),
    /// Say of a model, signed, how it came to be and what was found; and verify what others say
    #[command(subcommand)]
    Attest(AttestCommand),
    /// Approve a model's table of tensors as the baseline it is held against
    #[command(subcommand)]
    Baseline(BaselineCommand),
    /// Compute the score from the ledger, without gathering anything
    Assess(AssessArgs),
    /// Write the report of the last assessment: markdown, html, json, sarif, csv, badge
    Report(ReportArgs),
    /// Ask whether a gate opens: merge, release, serve, retire
    Gate(GateArgs),
    /// List controls, or explain one
    #[command(subcommand)]
    Controls(ControlsCommand),
    /// Add a waiver, or check the waivers there are
    #[command(subcommand)]
    Waiver(WaiverCommand),
    /// Look at the evidence ledger, verify it, prove a record, have its heads witnessed and anchored
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// List every algorithm and key in use, and which withstand quantum computers
    #[command(subcommand)]
    Crypto(CryptoCommand),
    /// Print a JSON Schema
    Schema(SchemaArgs),
    /// Print completions for a shell, or the manual page
    Completions(CompletionsArgs),
}

/// Arguments of `init`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  casemate init my-project")]
pub struct InitArgs {
    /// Project directory.
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Overwrite an existing casemate.toml.
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `check`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate check                      the project here\n  casemate check examples/digits -o report.html\n  casemate check --stage release      with the release gate\n\nFormats: text json markdown html sarif csv junit github badge"
)]
pub struct CheckArgs {
    /// Project directory.
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Gate that decides the exit code.
    #[arg(long, value_name = "STAGE", default_value = "merge")]
    pub stage: String,
    /// Fail on findings of this severity and above, whatever the gate says.
    #[arg(long, value_name = "SEVERITY")]
    pub fail_on: Option<Severity>,
    /// Limits for reading untrusted files (TOML).
    #[arg(long, value_name = "FILE")]
    pub limits: Option<PathBuf>,
    /// Scan every file again, and keep no verdicts.
    #[arg(long)]
    pub no_cache: bool,
}

/// Arguments of `scan`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate scan model.pt\n  casemate scan models/ --format sarif -o scan.sarif\n  casemate scan model --write-baseline approved.tensors.json\n  casemate scan model --baseline approved.tensors.json\n  casemate scan . --exclude node_modules --exclude 'docs/**/*.png'\n  cat model.pkl | casemate scan -\n  casemate scan hf://org/repository    the files of a model hub, read by ranges\n  casemate scan s3://bucket/models oci://ghcr.io/org/model:v1 https://host/model.pt\n\nWhat a glob leaves out is named in the report, nothing is said about it, and the scan does not become evidence.\n\nExit codes: 0 clean · 1 malicious or suspicious · 3 something could not be judged · 4 not what its digest says\nFormats: text json markdown html sarif csv junit github badge"
)]
pub struct ScanArgs {
    /// Files and directories; `-` is standard input; https://, s3://, oci:// and hf:// are read by ranges; oci:DIR is a layout.
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Severity from which a finding fails the scan.
    #[arg(long, value_name = "SEVERITY", default_value = "high")]
    pub fail_on: Severity,
    /// standard, strict (formats that run code by design fail), or a TOML file with a `[severity]` table.
    #[arg(long, value_name = "POLICY", default_value = "standard")]
    pub policy: String,
    /// Limits for reading untrusted files (TOML).
    #[arg(long, value_name = "FILE")]
    pub limits: Option<PathBuf>,
    /// Read every tensor: not-finite numbers, rows that stand out, tensors equal to others.
    #[arg(long)]
    pub weights: bool,
    /// Compare with a table of tensors, or accept the findings listed in a TOML file.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Write the table of this model's tensors: digest, type, shape and statistics of each.
    #[arg(long, value_name = "FILE", conflicts_with = "no_hash")]
    pub write_baseline: Option<PathBuf>,
    /// Do not compute digests of files: headers only (and tensors with --weights), and no evidence.
    #[arg(long)]
    pub no_hash: bool,
    /// Compute digests of files on servers too, which reads them whole.
    #[arg(long, conflicts_with = "no_hash")]
    pub hash: bool,
    /// Read http:// from other machines: whoever sits between may change what is judged.
    #[arg(long)]
    pub allow_http: bool,
    /// Longest wait for a server: to connect, to answer, to send what was asked for.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// Do not append evidence to the project's ledger.
    #[arg(long)]
    pub no_record: bool,
    /// Scan every file again, and keep no verdicts.
    #[arg(long)]
    pub no_cache: bool,
    /// Which files are looked at.
    #[command(flatten)]
    pub filters: FilterArgs,
}

/// Arguments of `inventory`.
#[derive(Args, Debug)]
#[command(
    after_help = "Finds models by content: in hidden directories and caches, behind any name, in zip, tar, wheel and compressed archives, in layers of\ncontainer images (`docker save`, OCI layouts). Not looked for: models in the history of version control, endpoints on the network.\n\nEach is held against what casemate.toml declares and the ledger holds scans of; the basis is said with each:\n  known         content of a declared model\n  scanned       content that was scanned in this project, and is declared nowhere\n  unregistered  neither\n  altered       name of a known model with other content, or a declared model that changed since its scan\n  quarantined   content of a model declared as quarantined or revoked\n  unjudged      it could not be told whether the file holds a model\n\nIn a project with a ledger a whole sweep becomes evidence (supply.inventory, control MON-10), which passes only when the roots in\n`[inventory]` of casemate.toml were all swept.\n\nExamples:\n  casemate inventory                                the project and the roots it declares\n  casemate inventory ~/.cache/huggingface /srv/models --format csv -o models.csv\n  docker save my-image -o image.tar && casemate inventory image.tar --fail-on-unregistered\n\nExit codes: 0 otherwise · 1 an altered, quarantined, suspicious or malicious model, or with --fail-on-unregistered an unregistered\none · 2 usage · 3 something could not be read or judged · 4 the ledger does not verify\nFormats: text json csv"
)]
pub struct InventoryArgs {
    /// Directories and files [default: the project and its declared roots].
    #[arg(value_name = "ROOT")]
    pub roots: Vec<PathBuf>,
    /// Fail on models that are neither declared nor scanned here.
    #[arg(long)]
    pub fail_on_unregistered: bool,
    /// Limits for reading untrusted files (TOML).
    #[arg(long, value_name = "FILE")]
    pub limits: Option<PathBuf>,
    /// Do not append evidence to the project's ledger.
    #[arg(long)]
    pub no_record: bool,
    /// Which files are looked at.
    #[command(flatten)]
    pub filters: FilterArgs,
}

/// Which files are looked at.
#[derive(Args, Debug)]
pub struct FilterArgs {
    /// Look only at files this glob means; may be repeated. `*.pt` a name anywhere, `models/**` a path as shown.
    #[arg(long, value_name = "GLOB", value_parser = Glob::parse)]
    include: Vec<Glob>,
    /// Leave out files this glob means, and name them in the report; may be repeated.
    #[arg(long, value_name = "GLOB", value_parser = Glob::parse)]
    exclude: Vec<Glob>,
}

impl FilterArgs {
    /// The filters asked for.
    pub fn filters(&self) -> Filters {
        Filters { include: self.include.clone(), exclude: self.exclude.clone() }
    }
}

/// `baseline …`
#[derive(Subcommand, Debug)]
pub enum BaselineCommand {
    /// Record in the ledger that a person approved this table of tensors
    #[command(
        after_help = "Example:\n  casemate baseline approve approved.tensors.json --approver grace --author ada --reason 'release 1.2'"
    )]
    Approve(BaselineApproveArgs),
}

/// Arguments of `baseline approve`.
#[derive(Args, Debug)]
pub struct BaselineApproveArgs {
    /// Table of tensors, as `scan --write-baseline` writes it.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The project's model it is for [default: the one that names the file].
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Who approves.
    #[arg(long)]
    pub approver: String,
    /// Who made or changed the weights; not the approver.
    #[arg(long)]
    pub author: String,
    /// Why these weights, and what was meant to change.
    #[arg(long)]
    pub reason: String,
}

/// Arguments of `assess`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate assess\n  casemate assess --explain\n\nFormats: text json markdown html sarif csv badge"
)]
pub struct AssessArgs {
    /// Print every term of the score.
    #[arg(long)]
    pub explain: bool,
}

/// Arguments of `report`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate report -o report.html\n  casemate report --format markdown > report.md\n\nFormats: text json markdown html sarif csv badge"
)]
pub struct ReportArgs {
    /// Gate to report on.
    #[arg(long, value_name = "STAGE", default_value = "merge")]
    pub stage: String,
}

/// `controls …`
#[derive(Subcommand, Debug)]
pub enum ControlsCommand {
    /// List the controls of the catalogue
    #[command(
        after_help = "Examples:\n  casemate controls list --severity critical\n  casemate controls list --stage release --format csv"
    )]
    List {
        /// Only this life-cycle stage.
        #[arg(long)]
        stage: Option<String>,
        /// Only this severity.
        #[arg(long)]
        severity: Option<Severity>,
        /// Only controls mapped to this framework id, e.g. `owasp-ml@2023:ML06`.
        #[arg(long, value_name = "ID")]
        framework: Option<String>,
    },
    /// Explain one control: what it asks, why, how it is checked, where it stands
    #[command(after_help = "Example:\n  casemate controls explain SUP-01")]
    Explain {
        /// Id of the control.
        id: String,
    },
}

/// `waiver …`
#[derive(Subcommand, Debug)]
pub enum WaiverCommand {
    /// Write a waiver file; it opens gates, never the score
    #[command(
        after_help = "Example:\n  casemate waiver add SUP-02 --reason 'legacy loader' --owner ada --approver grace \\\n      --compensating-control 'sandboxed load' --days 30"
    )]
    Add(WaiverAddArgs),
    /// Check every waiver file
    Lint,
}

/// Arguments of `waiver add`.
#[derive(Args, Debug)]
pub struct WaiverAddArgs {
    /// Id of the control.
    pub control: String,
    /// Name of the model it covers, or `*`.
    #[arg(long, default_value = "*")]
    pub scope: String,
    /// Why.
    #[arg(long)]
    pub reason: String,
    /// Who answers for it.
    #[arg(long)]
    pub owner: String,
    /// Who agreed; not the owner.
    #[arg(long)]
    pub approver: String,
    /// What protects meanwhile.
    #[arg(long)]
    pub compensating_control: String,
    /// For how many days from today.
    #[arg(long, default_value_t = 30)]
    pub days: i64,
}

/// Arguments of `schema`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  casemate schema report > report.schema.json")]
pub struct SchemaArgs {
    /// Which schema.
    #[arg(value_parser = ["report"])]
    pub name: String,
}

/// Arguments of `completions`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate completions bash > /etc/bash_completion.d/casemate\n  casemate completions man > casemate.1"
)]
pub struct CompletionsArgs {
    /// bash, elvish, fish, powershell, zsh, or man.
    #[arg(value_parser = ["bash", "elvish", "fish", "powershell", "zsh", "man"])]
    pub shell: String,
}
