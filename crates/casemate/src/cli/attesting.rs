//! Arguments of `attest` and `gate`.

use std::path::PathBuf;

use casemate_core::Timestamp;
use clap::{Args, Subcommand, ValueEnum};

/// `attest …`
#[derive(Subcommand, Debug)]
pub enum AttestCommand {
    /// Print the digests that statements about a model name, for whoever wants to recompute them
    #[command(after_help = "Example:\n  casemate attest subject model/")]
    Subject(SubjectArgs),
    /// Attest a training run: code, data, hyper-parameters and base model by digest (SLSA provenance v1)
    Provenance(Box<ProvenanceArgs>),
    /// Attest that this is the model at a stage of its life
    #[command(
        after_help = "Examples:\n  casemate attest stage model/ --stage after-training --key train.pem\n  casemate attest stage model/ --stage before-storage --key store.pem\n  casemate attest stage model/ --stage before-deployment --key deploy.pem"
    )]
    Stage(StageArgs),
    /// Attest the newest scan of exactly this model in the project's ledger
    #[command(after_help = "Example:\n  casemate scan model/ && casemate attest scan model/ --key scanner.pem")]
    Scan(MakingArgs),
    /// Attest what tests gave (in-toto test result)
    #[command(
        after_help = "Example:\n  casemate attest test-result model/ --key tests.pem --result passed --passed pgd --passed backdoor \\\n      --configuration suite.toml --configuration heldout.npz"
    )]
    TestResult(TestResultArgs),
    /// Attest a bill of materials (CycloneDX JSON), the document inside
    #[command(after_help = "Example:\n  casemate attest bom model/ --bom bom.cdx.json --key release.pem")]
    Bom(BomArgs),
    /// Attest a person's decision
    #[command(
        after_help = "Example:\n  casemate attest approval model/ --key grace.pem --approver grace --role 'release manager' \\\n      --reason 'release 1.2' --until 2027-05-01"
    )]
    Approval(ApprovalArgs),
    /// Verify every attestation of a model: by whom, about what, until when
    Verify(VerifyAttestationsArgs),
    /// Print the statements in a file, whoever signed them
    #[command(after_help = "Example:\n  casemate attest show attestations.jsonl --line 2\n\nNothing is verified here.")]
    Show(ShowArgs),
}

/// What every new attestation needs.
#[derive(Args, Debug)]
pub struct MakingArgs {
    /// Model: a directory, a file, or the name of a declared model.
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// Private key, PEM: ECDSA, Ed25519 or ML-DSA-65.
    #[arg(long, value_name = "KEY.pem")]
    pub key: PathBuf,
    /// Private key of a second, post-quantum signature, PEM: ML-DSA-65.
    #[arg(long, value_name = "PQ.pem")]
    pub pq_key: Option<PathBuf>,
    /// File that holds the password of encrypted keys (its first line).
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// File to append to [default: the one the model names in casemate.toml, else attestations.jsonl].
    #[arg(long, value_name = "FILE")]
    pub attestations: Option<PathBuf>,
    /// Bind the statement to this signature file of the model.
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
}

/// Arguments of `attest subject`.
#[derive(Args, Debug)]
pub struct SubjectArgs {
    /// Model: a directory, a file, or the name of a declared model.
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// A signature file to bind to.
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
}

/// Arguments of `attest provenance`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate attest provenance model/ --key train.pem --code-commit HEAD --data data/train.parquet \\\n      --parameters train.toml --from-scratch --metrics metrics.json --started 2026-11-21T08:00:00Z\n  casemate attest provenance model/ --key train.pem --code src --data data --base base-model/ --parameters p.json\n\nWhat is named by path is hashed here. What is named by digest (--data-digest, a commit that is in no repository here) is marked as\ndeclared, and no better than its signer's word."
)]
pub struct ProvenanceArgs {
    /// What every attestation needs.
    #[command(flatten)]
    pub making: MakingArgs,
    /// Directory or file of the program; may be given again.
    #[arg(long, value_name = "PATH")]
    pub code: Vec<PathBuf>,
    /// Commit of the program, in full, or HEAD.
    #[arg(long, value_name = "COMMIT")]
    pub code_commit: Option<String>,
    /// Data it learned from: a path, or the name of a declared data set; may be given again.
    #[arg(long, value_name = "PATH")]
    pub data: Vec<String>,
    /// Data that is not here, by the digest of its manifest; may be given again.
    #[arg(long, value_name = "NAME=sha256:HEX")]
    pub data_digest: Vec<String>,
    /// Model it starts from: a path, or the name of a declared model; may be given again.
    #[arg(long, value_name = "PATH", conflicts_with = "from_scratch")]
    pub base: Vec<String>,
    /// It was trained from random weights.
    #[arg(long)]
    pub from_scratch: bool,
    /// Hyper-parameters, JSON or TOML.
    #[arg(long, value_name = "FILE")]
    pub parameters: Option<PathBuf>,
    /// What the environment was made from, such as a lock file; may be given again.
    #[arg(long, value_name = "FILE")]
    pub environment: Vec<PathBuf>,
    /// Metrics of the run: a JSON object of numbers.
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Metrics of a repeated run.
    #[arg(long, value_name = "FILE", requires = "metrics", requires = "tolerance")]
    pub rerun_metrics: Option<PathBuf>,
    /// By how much a metric of the repeated run may differ.
    #[arg(long, value_name = "NUMBER", requires = "rerun_metrics")]
    pub tolerance: Option<f64>,
    /// URI of where it was trained.
    #[arg(long, value_name = "URI", default_value = "urn:casemate:builder:unnamed")]
    pub builder: String,
    /// Which run.
    #[arg(long, value_name = "ID")]
    pub invocation: Option<String>,
    /// When the run began.
    #[arg(long, value_name = "TIME")]
    pub started: Option<Timestamp>,
    /// When it ended [default: now].
    #[arg(long, value_name = "TIME")]
    pub finished: Option<Timestamp>,
}

/// Stages of a model's life that are attested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StageKind {
    /// Its training ended.
    AfterTraining,
    /// It enters storage.
    BeforeStorage,
    /// It is about to be deployed.
    BeforeDeployment,
}

/// Arguments of `attest stage`.
#[derive(Args, Debug)]
pub struct StageArgs {
    /// What every attestation needs.
    #[command(flatten)]
    pub making: MakingArgs,
    /// The stage.
    #[arg(long, value_name = "STAGE")]
    pub stage: StageKind,
}

/// What tests gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResultKind {
    /// Every test passed.
    Passed,
    /// None failed, some warned.
    Warned,
    /// Some failed.
    Failed,
}

/// Arguments of `attest test-result`.
#[derive(Args, Debug)]
pub struct TestResultArgs {
    /// What every attestation needs.
    #[command(flatten)]
    pub making: MakingArgs,
    /// What came out.
    #[arg(long, value_name = "RESULT")]
    pub result: ResultKind,
    /// What the run was configured with, hashed: suite, data, thresholds; may be given again.
    #[arg(long, value_name = "FILE", required = true)]
    pub configuration: Vec<PathBuf>,
    /// Where more is to be read.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Name of a test that passed; may be given again.
    #[arg(long, value_name = "TEST")]
    pub passed: Vec<String>,
    /// Name of a test that warned; may be given again.
    #[arg(long, value_name = "TEST")]
    pub warned: Vec<String>,
    /// Name of a test that failed; may be given again.
    #[arg(long, value_name = "TEST")]
    pub failed: Vec<String>,
}

/// Arguments of `attest bom`.
#[derive(Args, Debug)]
pub struct BomArgs {
    /// What every attestation needs.
    #[command(flatten)]
    pub making: MakingArgs,
    /// The bill of materials, CycloneDX JSON.
    #[arg(long, value_name = "FILE")]
    pub bom: PathBuf,
}

/// What a person decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DecisionKind {
    /// Yes.
    Approved,
    /// No.
    Rejected,
}

/// Arguments of `attest approval`.
#[derive(Args, Debug)]
pub struct ApprovalArgs {
    /// What every attestation needs.
    #[command(flatten)]
    pub making: MakingArgs,
    /// Who decides.
    #[arg(long)]
    pub approver: String,
    /// As what.
    #[arg(long)]
    pub role: String,
    /// Why.
    #[arg(long)]
    pub reason: String,
    /// What.
    #[arg(long, default_value = "approved")]
    pub decision: DecisionKind,
    /// Until when it counts [default: without end].
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
}

/// Kinds of statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatementKind {
    /// How it was trained.
    Provenance,
    /// What a scan found.
    Scan,
    /// What tests gave.
    TestResult,
    /// What it is made of.
    Bom,
    /// A person's decision.
    Approval,
    /// A stage of its life.
    Stage,
    /// What a verifier concluded.
    Summary,
}

/// Arguments of `attest verify`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate attest verify model/                              with the keys under [trust.roles]\n  casemate attest verify model/ --key release.pub.pem --require summary --max-age 7\n\nExit codes: 0 all are good · 1 a signer without the role, an expired or missing one, or a good one that says no · 2 usage · 3 an\nunknown key, a kind that is not read, or nothing to verify · 4 a bad signature, a malformed line, or a statement about something else\nFormats: text json"
)]
pub struct VerifyAttestationsArgs {
    /// Model: a directory, a file, or the name of a declared model.
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The attestations [default: the file the model names in casemate.toml, else attestations.jsonl].
    #[arg(long, value_name = "FILE")]
    pub attestations: Option<PathBuf>,
    /// Public key that may sign anything, PEM, instead of those under `[trust.roles]`; may be given again.
    #[arg(long, value_name = "PUB.pem")]
    pub key: Vec<PathBuf>,
    /// The model's signature file [default: the one it names in casemate.toml].
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// Fail unless there is a good one of this kind; may be given again.
    #[arg(long, value_name = "KIND")]
    pub require: Vec<StatementKind>,
    /// Days that a verification summary counts.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(i64).range(0..=36500))]
    pub max_age: i64,
}

/// Arguments of `attest show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The attestations.
    #[arg(value_name = "FILE", default_value = "attestations.jsonl")]
    pub file: PathBuf,
    /// Only this line, from 1.
    #[arg(long, value_name = "N")]
    pub line: Option<usize>,
}

/// Arguments of `gate`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  casemate gate --stage release\n  casemate gate --stage release --attest attestations.jsonl --key release.pem    sign what came out\n\nThe summary (SLSA verification summary) says PASSED only where the gate opens; what is unknown is FAILED.\n\nExit codes: 0 open · 1 shut · 3 something required is unknown · 4 ledger or signatures do not verify"
)]
pub struct GateArgs {
    /// merge, release, serve or retire.
    #[arg(long, value_name = "STAGE")]
    pub stage: String,
    /// Append a signed summary about each model in use to FILE.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub attest: Option<PathBuf>,
    /// Private key of the summary, PEM: ECDSA, Ed25519 or ML-DSA-65.
    #[arg(long, value_name = "KEY.pem", requires = "attest")]
    pub key: Option<PathBuf>,
    /// Private key of a second, post-quantum signature, PEM: ML-DSA-65.
    #[arg(long, value_name = "PQ.pem", requires = "attest")]
    pub pq_key: Option<PathBuf>,
    /// File that holds the password of encrypted keys (its first line).
    #[arg(long, value_name = "FILE", requires = "attest")]
    pub password_file: Option<PathBuf>,
    /// URI of who verifies.
    #[arg(long, value_name = "URI", default_value = "urn:casemate:verifier:unnamed", requires = "attest")]
    pub verifier: String,
}
