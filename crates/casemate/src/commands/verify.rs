//! `casemate verify`: is a model still what its signer signed?

pub mod watch;

use std::fmt::Write as _;
use std::path::Path;

use casemate_core::{Confidence, Finding, Location, Outcome, Severity};
use casemate_provenance::keys::certificate::Certificate;
use casemate_provenance::keys::signing::VerifyingKey;
use casemate_provenance::oms::chain::TrustedRoots;
use casemate_provenance::oms::compare::{CompareSettings, Comparison, compare};
use casemate_provenance::oms::{Opened, SignatureState, Signer, Trusted};
use serde_json::json;

use crate::cache::digests::{self, DigestCache};
use crate::cli::{Format, VerifyArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::progress;
use crate::remote_keys;
use crate::report::{Report, ReportSubject};
use crate::verifying::{SignatureFiles, bytes_under, is_loadable, key_failure};

/// Runs the command.
pub fn run(context: &Context, args: &VerifyArgs) -> Result<Exit, Failure> {
    let format = context.format(&[Format::Text, Format::Json])?;
    let started = context.now();
    let load = |path: &Path| match remote_keys::address(path) {
        Some(address) => remote_keys::public_key(address),
        None => VerifyingKey::load(path).map_err(|error| key_failure(&error)),
    };
    let signer = match (&args.key, &args.roots, &args.identity) {
        (Some(key), _, _) => Signer::Key(load(key)?),
        (None, Some(roots), Some(identity)) => Signer::Certified(TrustedRoots {
            roots: Certificate::load(roots).map_err(|error| key_failure(&error))?,
            identity: identity.clone(),
            now: started,
        }),
        _ => return Err(Failure::usage("give --key, or --roots and --identity")),
    };
    let trusted = Trusted {
        signer,
        pq_key: args.pq_key.as_deref().map(load).transpose()?,
        require_pq: args.require_pq,
        allow_legacy: args.allow_legacy,
    };
    let Some(model) = &args.model else { return Err(Failure::usage("name the MODEL to verify")) };
    let root =
        std::fs::canonicalize(model).map_err(|error| Failure::usage(format!("`{}`: {error}", model.display())))?;
    let files = SignatureFiles::read(&args.signature, args.pq_signature.as_deref())?;
    let opened =
        files.open(&trusted).map_err(|error| Failure::integrity(format!("`{}`: {error}", args.signature.display())))?;

    let cache = DigestCache::open(context, context.project(None).ok().as_ref(), &root, digests::draw(&args.reuse)?);
    let bytes = match args.partial.as_slice() {
        [] => bytes_under(&root),
        partial => partial.iter().map(|name| bytes_under(&root.join(name))).sum(),
    };
    let bar = progress::bar(context, "hashing", bytes);
    let signature_names = files.names(&root, &args.signature);
    let settings = CompareSettings {
        partial: &args.partial,
        signature_names: &signature_names,
        is_loadable: &is_loadable,
        known: Some(cache.known()),
        progress: &|done| bar.set_position(done),
    };
    let compared = compare(&opened.signed, &root, &settings).map_err(|error| cache.failure(&error))?;
    bar.finish_and_clear();
    // What a signature leaves out is not looked at either.
    cache.close(context, true);
    let holds = compared.holds() && (!args.strict || compared.uncovered.is_empty());
    match format {
        Format::Json => {
            let mut report =
                Report::new("verify", ReportSubject { name: opened.signed.name.clone(), digest: None }, started);
            report.finished_at = context.now();
            fill(&mut report, &opened, &compared, args);
            report.summary.insert("hashing", cache.summary());
            report.outcome = if holds { Outcome::Pass } else { Outcome::Fail };
            let text = serde_json::to_string_pretty(&report).map_err(Failure::not_evaluated)?;
            context.emit(&format!("{text}\n"))?;
        }
        _ => context.emit(&text(&opened, &compared, cache.remark(), holds))?,
    }
    Ok(if holds { Exit::Passed } else { Exit::Integrity })
}

/// Each kind of difference: what it is called, its names, and how bad it is.
fn differences(compared: &Comparison) -> [(&'static str, &Vec<String>, Severity); 9] {
    [
        ("changed", &compared.changed, Severity::Critical),
        ("missing", &compared.missing, Severity::Critical),
        ("added", &compared.added, Severity::Critical),
        ("uncovered-loadable", &compared.uncovered_loadable, Severity::High),
        ("not-signed", &compared.unsigned, Severity::High),
        ("uncovered", &compared.uncovered, Severity::Info),
        ("missing-beside", &compared.missing_beside, Severity::Info),
        ("behind-link", &compared.links, Severity::Low),
        ("not-checked", &compared.unchecked, Severity::Info),
    ]
}

fn meaning(kind: &str) -> &'static str {
    match kind {
        "changed" => "its contents are not those that were signed",
        "missing" => "was signed and is not there",
        "added" => "is there and was not signed",
        "uncovered-loadable" => "no signature covers it, and a program may load or run it",
        "not-signed" => "was asked for, and the signature does not name it",
        "uncovered" => "no signature covers it",
        "missing-beside" => "was signed beside the model and is not there",
        "behind-link" => "is reached through a symbolic link, which the signer did not allow",
        _ => "was not looked at",
    }
}

fn fill(report: &mut Report, opened: &Opened, compared: &Comparison, args: &VerifyArgs) {
    for (kind, names, severity) in differences(compared) {
        report.findings.extend(names.iter().map(|name| Finding {
            rule: format!("signature-file-{kind}"),
            severity,
            confidence: Confidence::High,
            message: format!("`{}` {}", shown(name), meaning(kind)),
            location: Location { path: name.clone(), ..Location::default() },
            controls: vec!["SUP-12".into()],
            references: vec!["CWE-353".into()],
            remediation:
                "restore the file from the signed release, or sign the model again if the change was meant".into(),
            accepted: None,
        }));
    }
    let signatures: Vec<_> = opened
        .signatures
        .iter()
        .map(|signature| json!({"kind": signature.name, "state": state(signature.state)}))
        .collect();
    report.summary.insert("signatures", json!(signatures));
    report.summary.insert("files_equal", json!(compared.equal));
    report.summary.insert("hash", json!(opened.signed.hash_type.as_str()));
    report.summary.insert("notes", json!(opened.notes));
    report.summary.insert("partial", json!(!args.partial.is_empty()));
}

fn state(state: SignatureState) -> &'static str {
    match state {
        SignatureState::Good => "good",
        SignatureState::NotChecked => "not checked",
    }
}

fn text(opened: &Opened, compared: &Comparison, remark: Option<String>, holds: bool) -> String {
    let mut out = String::new();
    for (kind, names, _) in differences(compared) {
        for name in names.iter().filter(|_| kind != "not-checked") {
            let _ = writeln!(out, "{kind:<20}{}", shown(name));
        }
    }
    for note in opened.notes.iter().chain(&remark) {
        let _ = writeln!(out, "note: {note}");
    }
    if !compared.unchecked.is_empty() {
        let _ = writeln!(out, "note: {} files were not looked at", compared.unchecked.len());
    }
    let signed_by: Vec<String> =
        opened.signatures.iter().map(|signature| format!("{} {}", signature.name, state(signature.state))).collect();
    let _ = writeln!(out, "signatures: {} (key {})", signed_by.join(", "), opened.key.hint());
    let bad: usize = differences(compared)
        .iter()
        .filter(|(_, _, severity)| *severity >= Severity::High)
        .map(|(_, names, _)| names.len())
        .sum();
    let _ = match (holds, compared.unchecked.is_empty()) {
        (true, true) => writeln!(out, "verified: all {} files are as signed", compared.equal),
        (true, false) => writeln!(out, "verified in part: {} files are as signed", compared.equal),
        (false, _) => writeln!(out, "NOT verified: {bad} files differ, {} are as signed", compared.equal),
    };
    out
}

/// Foreign names for a terminal.
fn shown(name: &str) -> String {
    name.chars().flat_map(char::escape_debug).collect()
}
