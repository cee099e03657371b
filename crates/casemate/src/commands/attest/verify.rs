//! `casemate attest verify`: which statements about a model are to be believed, and what they come to.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use casemate_core::{Outcome, Timestamp};
use casemate_provenance::attestation::Statement;
use casemate_provenance::attestation::judge::{Judged, Standing};
use casemate_provenance::attestation::predicate::{Kind, Predicate, Tenor};
use serde_json::json;

use super::shown;
use crate::attesting::{Attested, Target, keyring, keyring_of};
use crate::cli::{Format, StatementKind, VerifyAttestationsArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::report::{DigestSet, Report, ReportSubject};

/// Runs the command.
pub fn run(context: &Context, args: &VerifyAttestationsArgs) -> Result<Exit, Failure> {
    let format = context.format(&[Format::Text, Format::Json])?;
    let started = context.now();
    let project = context.project(None)?;
    let target = Target::find(&project, &args.model)?;
    let file = target.file(&project, args.attestations.as_deref())?;
    let keyring = if args.key.is_empty() { keyring(&project)? } else { keyring_of(&args.key)? };
    if keyring.is_empty() {
        return Err(Failure::usage(
            "nobody is trusted: give --key, or name keys under `[trust.roles]` in casemate.toml",
        ));
    }
    let named = target.declared.as_ref().and_then(|model| model.signature.as_ref());
    let named = named.map(|named| project.root.join(named)).filter(|path| path.exists());
    let subject = target.subject(context, args.signature.as_deref().or(named.as_deref()))?;
    let attested = Attested::read(&file, keyring, subject, started)?;
    let newest: BTreeSet<usize> = attested.newest().iter().map(|judged| judged.line).collect();
    let verdicts: Vec<Verdict<'_>> = attested
        .judged
        .iter()
        .map(|judged| verdict(judged, newest.contains(&judged.line), started, args.max_age))
        .collect();
    let missing: Vec<&'static str> = args
        .require
        .iter()
        .map(|kind| kind_of(*kind))
        .filter(|kind| !has(&verdicts, *kind))
        .map(Kind::as_str)
        .collect();
    let mut exit = verdicts.iter().map(|verdict| verdict.exit).fold(Exit::Passed, Exit::worse);
    if !missing.is_empty() {
        exit = exit.worse(Exit::PolicyFailed);
    }
    if verdicts.is_empty() {
        exit = exit.worse(Exit::NotEvaluated);
    }
    match format {
        Format::Json => context.emit(&json_report(context, &attested, (&verdicts, &missing), exit, started)?)?,
        _ => context.emit(&text(&verdicts, &missing, exit))?,
    }
    Ok(exit)
}

/// One line, and what it comes to.
struct Verdict<'a> {
    judged: &'a Judged,
    detail: String,
    exit: Exit,
}

fn verdict(judged: &Judged, is_newest: bool, now: Timestamp, age_days_max: i64) -> Verdict<'_> {
    let statement = judged.statement.as_ref();
    let mut detail = statement.map_or_else(String::new, said);
    let exit = match &judged.standing {
        Standing::Good if !is_newest => {
            detail.push_str(" (overtaken by a later one)");
            Exit::Passed
        }
        Standing::Good => match statement.map(|statement| (&statement.predicate, statement.predicate.tenor())) {
            Some((Predicate::Summary(summary), _)) if summary.time_verified.plus_days(age_days_max) < now => {
                let _ = write!(detail, ", older than {age_days_max} days");
                Exit::PolicyFailed
            }
            Some((_, Tenor::Against)) => Exit::PolicyFailed,
            Some((_, Tenor::Undecided)) => Exit::NotEvaluated,
            Some((_, Tenor::For)) | None => Exit::Passed,
        },
        Standing::Expired if !is_newest => Exit::Passed,
        Standing::Expired | Standing::Future => Exit::PolicyFailed,
        Standing::SignerRefused(role) => {
            let _ = write!(detail, ", needs the role `{}`", role.as_str());
            Exit::PolicyFailed
        }
        Standing::UnknownKey => Exit::NotEvaluated,
        Standing::Unread(other) => {
            let _ = write!(detail, "`{other}`");
            Exit::NotEvaluated
        }
        Standing::Malformed(why) | Standing::BadSignature(why) => {
            detail = why.clone();
            Exit::Integrity
        }
        Standing::OtherSubject => {
            let digest = statement.and_then(Statement::digest).map_or_else(|| "?".into(), |digest| digest.to_string());
            let _ = write!(detail, ", about sha256 {digest}");
            Exit::Integrity
        }
    };
    Verdict { judged, detail, exit }
}

/// Whether there is a good statement of this kind, and the newest ones of it speak for the model.
fn has(verdicts: &[Verdict<'_>], kind: Kind) -> bool {
    let of_kind =
        |verdict: &&Verdict<'_>| verdict.judged.good().is_some_and(|statement| statement.predicate.kind() == kind);
    let mut found = verdicts.iter().filter(of_kind).peekable();
    found.peek().is_some() && found.all(|verdict| verdict.exit == Exit::Passed)
}

/// What a statement says, in a few words.
fn said(statement: &Statement) -> String {
    let word = |name: &dyn std::fmt::Debug| format!("{name:?}").to_lowercase();
    match &statement.predicate {
        Predicate::Provenance(provenance) => {
            let n = provenance.build_definition.resolved_dependencies.len();
            format!("{n} inputs, built by {}", shown(&provenance.run_details.builder.id))
        }
        Predicate::Scan(evidence) => format!("outcome {}", evidence.outcome.as_str()),
        Predicate::TestResult(test) => format!("result {}", word(&test.result)),
        Predicate::Bom(bom) => format!("{} components", bom.components()),
        Predicate::Approval(approval) => {
            let end = approval.expires_at.map_or_else(String::new, |end| format!(", until {end}"));
            format!("{} by {} ({}){end}", word(&approval.decision), shown(&approval.approver), shown(&approval.role))
        }
        Predicate::Stage(stage) => stage.stage.as_str().into(),
        Predicate::Summary(summary) => format!(
            "{} by {}, {}",
            word(&summary.verification_result),
            shown(&summary.verifier.id),
            shown(&summary.verified_levels.join(" "))
        ),
    }
}

fn kind_of(kind: StatementKind) -> Kind {
    match kind {
        StatementKind::Provenance => Kind::Provenance,
        StatementKind::Scan => Kind::Scan,
        StatementKind::TestResult => Kind::TestResult,
        StatementKind::Bom => Kind::Bom,
        StatementKind::Approval => Kind::Approval,
        StatementKind::Stage => Kind::Stage,
        StatementKind::Summary => Kind::Summary,
    }
}

/// The kind a line claims, by its predicate type.
fn claimed(judged: &Judged) -> String {
    let kind = Kind::ALL.into_iter().find(|kind| judged.claims.as_deref() == Some(kind.predicate_type()));
    match (kind, judged.claims.as_deref()) {
        (Some(kind), _) => kind.as_str().into(),
        (None, Some(_)) => "other".into(),
        (None, None) => "?".into(),
    }
}

fn text(verdicts: &[Verdict<'_>], missing: &[&str], exit: Exit) -> String {
    let mut out = String::new();
    for Verdict { judged, detail, .. } in verdicts {
        let time =
            judged.statement.as_ref().and_then(Statement::time).map_or_else(String::new, |time| time.to_string());
        let signer =
            judged.signers.first().map_or_else(String::new, |key| format!("by {}", key.get(..24).unwrap_or(key)));
        let _ = writeln!(
            out,
            "{:>4}  {:<14}  {:<11}  {time:<24}  {}",
            judged.line,
            judged.standing.as_str(),
            claimed(judged),
            [detail.as_str(), signer.as_str()]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("; ")
        );
        for note in &judged.notes {
            let _ = writeln!(out, "      note: {}", shown(note));
        }
    }
    for kind in missing {
        let _ = writeln!(out, "missing         {kind}: no good one, or one that says no");
    }
    let good = verdicts.iter().filter(|verdict| verdict.judged.good().is_some()).count();
    let _ = match exit {
        Exit::Passed => writeln!(out, "verified: {good} of {} attestations are good", verdicts.len()),
        _ if verdicts.is_empty() => writeln!(out, "NOT verified: there are no attestations"),
        _ if good == verdicts.len() => {
            writeln!(out, "NOT passed: all {good} are good, and not all speak for the model")
        }
        _ => writeln!(out, "NOT verified: {good} of {} attestations are good", verdicts.len()),
    };
    out
}

fn json_report(
    context: &Context,
    attested: &Attested,
    (verdicts, missing): (&[Verdict<'_>], &[&str]),
    exit: Exit,
    started: Timestamp,
) -> Result<String, Failure> {
    let subject = ReportSubject {
        name: attested.subject.name.clone(),
        digest: Some(DigestSet { sha256: attested.subject.manifest }),
    };
    let mut report = Report::new("attest verify", subject, started);
    report.finished_at = context.now();
    report.outcome = match exit {
        Exit::Passed => Outcome::Pass,
        Exit::NotEvaluated | Exit::Usage | Exit::Handed(_) => Outcome::Unknown,
        Exit::PolicyFailed | Exit::Integrity => Outcome::Fail,
    };
    let line = |verdict: &Verdict<'_>| {
        let judged = verdict.judged;
        json!({
            "line": judged.line, "digest": {"sha256": judged.digest}, "predicate_type": judged.claims,
            "standing": judged.standing.as_str(), "detail": verdict.detail, "signers": judged.signers, "notes": judged.notes,
            "time": judged.statement.as_ref().and_then(Statement::time), "exit_code": verdict.exit.code(),
        })
    };
    report.summary.insert("attestations", verdicts.iter().map(line).collect());
    report.summary.insert("missing", json!(missing));
    let text = serde_json::to_string_pretty(&report).map_err(Failure::not_evaluated)?;
    Ok(format!("{text}\n"))
}
