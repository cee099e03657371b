//! `casemate attest`: statements about a model, made and signed; `verify` and `show` read them.

mod provenance;
mod verify;

use std::fmt::Write as _;
use std::path::Path;

use casemate_core::{FileSource, Record, Source as _, SourceExt as _, SubjectKind};
use casemate_provenance::attestation::approval::{Approval, Decision, Stage, StageReached};
use casemate_provenance::attestation::bom::Bom;
use casemate_provenance::attestation::descriptor::ResourceDescriptor;
use casemate_provenance::attestation::predicate::{Predicate, Role};
use casemate_provenance::attestation::results::{Result as TestOutcome, TestResult};
use casemate_provenance::attestation::{Error, ModelSubject, STATEMENT_BYTES_MAX, Statement, digest_of_line, store};
use casemate_provenance::dsse;
use casemate_provenance::keys::attesting::AttestingKey;
use casemate_provenance::statement::PAYLOAD_TYPE;

use crate::attesting::{Target, keyring, signing_keys};
use crate::cli::{
    ApprovalArgs, AttestCommand, BomArgs, DecisionKind, Format, MakingArgs, ResultKind, ShowArgs, StageArgs, StageKind,
    SubjectArgs, TestResultArgs,
};
use crate::context::{Context, Project};
use crate::exit::{Exit, Failure};
use crate::gather;
use crate::state::State;
pub use provenance::PATH;

/// Runs the command.
pub fn run(context: &Context, command: &AttestCommand) -> Result<Exit, Failure> {
    if !matches!(command, AttestCommand::Verify(_)) {
        context.format(&[Format::Text])?;
    }
    match command {
        AttestCommand::Subject(args) => subject(context, args),
        AttestCommand::Provenance(args) => provenance::run(context, args),
        AttestCommand::Stage(args) => stage(context, args),
        AttestCommand::Scan(args) => scan(context, args),
        AttestCommand::TestResult(args) => test_result(context, args),
        AttestCommand::Bom(args) => bom(context, args),
        AttestCommand::Approval(args) => approval(context, args),
        AttestCommand::Verify(args) => verify::run(context, args),
        AttestCommand::Show(args) => show(context, args),
    }
}

fn subject(context: &Context, args: &SubjectArgs) -> Result<Exit, Failure> {
    let project = context.project(None)?;
    let subject = Target::find(&project, &args.model)?.subject(context, args.signature.as_deref())?;
    let mut out = String::new();
    for descriptor in subject.descriptors() {
        let digest = descriptor.digest.get("sha256").map_or("", String::as_str);
        let _ = writeln!(out, "sha256:{digest}  {}", shown(&descriptor.name));
    }
    context.emit(&out)?;
    Ok(Exit::Passed)
}

fn stage(context: &Context, args: &StageArgs) -> Result<Exit, Failure> {
    let stage = match args.stage {
        StageKind::AfterTraining => Stage::AfterTraining,
        StageKind::BeforeStorage => Stage::BeforeStorage,
        StageKind::BeforeDeployment => Stage::BeforeDeployment,
    };
    make(context, &args.making, |_, _| Ok(Predicate::Stage(StageReached { stage, reached_at: context.now() })))
}

/// The newest scan of these very files that the ledger holds, whatever came out.
fn scan(context: &Context, args: &MakingArgs) -> Result<Exit, Failure> {
    make(context, args, |project, subject| {
        let state = State::open_existing(project)?;
        super::check::refuse_damaged(&state.verify()?)?;
        let is_it = |record: &&Record| {
            let evidence = &record.evidence;
            evidence.kind == "artifact.scan"
                && evidence.subject.kind == SubjectKind::Model
                && evidence.subject.digest == subject.manifest
        };
        match state.records()?.iter().rev().find(is_it) {
            Some(record) => Ok(Predicate::Scan(Box::new(record.evidence.clone()))),
            None => Err(Failure::not_evaluated(format!(
                "the ledger holds no scan of this model, sha256 {}; run `casemate check` or `casemate scan {}` first",
                subject.manifest, args.model
            ))),
        }
    })
}

fn test_result(context: &Context, args: &TestResultArgs) -> Result<Exit, Failure> {
    let result = match args.result {
        ResultKind::Passed => TestOutcome::Passed,
        ResultKind::Warned => TestOutcome::Warned,
        ResultKind::Failed => TestOutcome::Failed,
    };
    let test = TestResult {
        result,
        configuration: args.configuration.iter().map(|path| file_descriptor(path)).collect::<Result<_, _>>()?,
        url: args.url.clone(),
        passed_tests: args.passed.clone(),
        warned_tests: args.warned.clone(),
        failed_tests: args.failed.clone(),
    };
    make(context, &args.making, |_, _| Ok(Predicate::TestResult(test)))
}

fn bom(context: &Context, args: &BomArgs) -> Result<Exit, Failure> {
    let bom = Bom::parse(&whole_file(&args.bom)?)
        .map_err(|error| Failure::usage(format!("`{}`: {error}", args.bom.display())))?;
    if bom.components() == 0 {
        context.say(&format!("`{}` lists no component", args.bom.display()));
    }
    make(context, &args.making, |_, _| Ok(Predicate::Bom(Box::new(bom))))
}

fn approval(context: &Context, args: &ApprovalArgs) -> Result<Exit, Failure> {
    let now = context.now();
    if args.until.is_some_and(|until| until <= now) {
        return Err(Failure::usage("--until lies in the past"));
    }
    let decision = match args.decision {
        DecisionKind::Approved => Decision::Approved,
        DecisionKind::Rejected => Decision::Rejected,
    };
    let approval = Approval {
        approver: args.approver.trim().into(),
        role: args.role.trim().into(),
        decision,
        reason: args.reason.trim().into(),
        decided_at: now,
        expires_at: args.until,
    };
    make(context, &args.making, |_, _| Ok(Predicate::Approval(approval)))
}

/// Hashes the model, has the predicate made, signs, appends, and records the digest where the project has a ledger.
fn make(
    context: &Context,
    making: &MakingArgs,
    predicate: impl FnOnce(&Project, &ModelSubject) -> Result<Predicate, Failure>,
) -> Result<Exit, Failure> {
    let project = context.project(None)?;
    let target = Target::find(&project, &making.model)?;
    let file = target.file(&project, making.attestations.as_deref())?;
    let keys = signing_keys(&making.key, making.pq_key.as_deref(), making.password_file.as_deref())?;
    let mut subject = target.subject(context, making.signature.as_deref())?;
    let predicate = predicate(&project, &subject)?;
    if let Predicate::Scan(evidence) = &predicate {
        // Statement and evidence have one subject, under the name it was scanned by.
        subject.name.clone_from(&evidence.subject.name);
    }
    let (kind, role) = (predicate.kind(), predicate.role());
    let line = signed(context, &subject, predicate, (&keys, Vec::new()))?;
    append(context, &project, &file, &[(subject.clone(), kind.predicate_type(), line.clone())], &keys)?;
    let who: Vec<_> = keys.iter().map(|key| key.public().key_id()).collect();
    let text = format!(
        "attested {} of {}, sha256 {}\n  by {}\n  in {}, digest {}\n",
        kind.as_str(),
        shown(&subject.name),
        subject.manifest,
        who.join("\n  and "),
        file.display(),
        digest_of_line(&line)
    );
    context.to_stdout(&text)?;
    warn_of_roles(context, &project, role, &keys)?;
    Ok(Exit::Passed)
}

/// One statement as a line, with remarks.
///
/// # Errors
/// When it says what cannot be said, or a key fails.
pub fn signed(
    context: &Context,
    subject: &ModelSubject,
    predicate: Predicate,
    (keys, remarks): (&[AttestingKey], Vec<String>),
) -> Result<Vec<u8>, Failure> {
    let keys: Vec<&AttestingKey> = keys.iter().collect();
    let statement = Statement { remarks, ..Statement::about(subject, predicate, context.now()) };
    statement.sign(&keys).map_err(|error| match error {
        Error::Envelope(dsse::Error::Key(error)) => Failure::not_evaluated(error),
        error => Failure::usage(error),
    })
}

/// Appends lines to `file`, and records their digests where the project has a ledger.
///
/// # Errors
/// When either cannot be written, or the ledger does not hold.
pub fn append(
    context: &Context,
    project: &Project,
    file: &Path,
    lines: &[(ModelSubject, &'static str, Vec<u8>)],
    keys: &[AttestingKey],
) -> Result<(), Failure> {
    let state = match State::exists(project) {
        true => {
            let state = State::open_existing(project)?;
            // Before anything is written: a line that the ledger cannot take would be one too many.
            super::check::refuse_damaged(&state.verify()?)?;
            Some(state)
        }
        false => None,
    };
    let added: Vec<Vec<u8>> = lines.iter().map(|(_, _, line)| line.clone()).collect();
    store::append(file, &added).map_err(|error| match error {
        store::Error::CutShort { .. } => Failure::integrity(error),
        error => Failure::not_evaluated(error),
    })?;
    let Some(mut state) = state else { return Ok(()) };
    let now = context.now();
    let signers = keys.iter().map(|key| key.public().key_id()).collect::<Vec<_>>().join(" ");
    let record = |(subject, predicate_type, line): &(ModelSubject, &'static str, Vec<u8>)| {
        gather::attestations::recorded(subject, predicate_type, digest_of_line(line), &signers, now)
    };
    let batch: Vec<_> = lines.iter().map(record).collect();
    state.append(&batch).map(drop).map_err(|failure| Failure {
        message: format!("the attestation is in `{}` and not in the ledger: {}", file.display(), failure.message),
        ..failure
    })
}

/// Says so when the project would refuse what was just signed.
///
/// # Errors
/// When a trusted key cannot be read.
pub fn warn_of_roles(context: &Context, project: &Project, role: Role, keys: &[AttestingKey]) -> Result<(), Failure> {
    if project.config.trust.roles.is_empty() {
        return Ok(());
    }
    let keyring = keyring(project)?;
    let trusted = keys.iter().any(|key| keyring.of_role(role).any(|trusted| *trusted == key.public()));
    if !trusted {
        let role = role.as_str();
        context.say(&format!(
            "note: `[trust.roles] {role}` of casemate.toml does not name this key, so it is refused here"
        ));
    }
    Ok(())
}

fn show(context: &Context, args: &ShowArgs) -> Result<Exit, Failure> {
    let lines = store::read(&args.file).map_err(Failure::not_evaluated)?;
    if args.line.is_some_and(|wanted| wanted == 0 || wanted > lines.len()) {
        return Err(Failure::usage(format!("`{}` has lines 1 to {}", args.file.display(), lines.len())));
    }
    let mut out = String::new();
    let wanted = |(at, _): &(usize, &Vec<u8>)| args.line.is_none_or(|wanted| wanted == at + 1);
    for (at, line) in lines.iter().enumerate().filter(wanted) {
        let readable =
            dsse::parse(line, STATEMENT_BYTES_MAX).ok().filter(|envelope| envelope.payload_type == PAYLOAD_TYPE);
        let value = readable.as_ref().and_then(|e| serde_json::from_slice::<serde_json::Value>(&e.payload).ok());
        let _ = match value.and_then(|value| serde_json::to_string_pretty(&value).ok()) {
            Some(text) => writeln!(out, "{text}"),
            None => {
                return Err(Failure::integrity(format!(
                    "line {} of `{}` is no statement",
                    at + 1,
                    args.file.display()
                )));
            }
        };
    }
    context.emit(&out)?;
    context.say("nothing was verified; `casemate attest verify MODEL` does");
    Ok(Exit::Passed)
}

/// A file by name and plain SHA-256.
fn file_descriptor(path: &Path) -> Result<ResourceDescriptor, Failure> {
    let fail = |error: std::io::Error| Failure::usage(format!("`{}`: {error}", path.display()));
    let source = FileSource::open(path).map_err(fail)?;
    let digest = casemate_provenance::hash::sha256_of(&source, &|_| ()).map_err(fail)?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Ok(ResourceDescriptor::of(&name, digest))
}

/// The bytes of a file that goes into a statement.
fn whole_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |error: std::io::Error| Failure::usage(format!("`{}`: {error}", path.display()));
    let source = FileSource::open(path).map_err(fail)?;
    if source.size_bytes() > STATEMENT_BYTES_MAX as u64 {
        return Err(Failure::usage(format!("`{}` is larger than {STATEMENT_BYTES_MAX} bytes", path.display())));
    }
    source.bytes_at(0, source.size_bytes()).map_err(fail)
}

/// Foreign text for a terminal.
fn shown(text: &str) -> String {
    text.chars().take(120).flat_map(char::escape_debug).collect()
}
