//! `casemate inventory`: where models are, which of them the project knows, and which were altered.

use std::path::{Path, PathBuf};

use casemate_artifact::Verdict;
use casemate_assess::facts::SystemFacts;
use casemate_core::{Outcome, Record, Timestamp};
use serde_json::json;

use crate::cli::{Format, InventoryArgs};
use crate::context::{Context, Project};
use crate::exit::{Exit, Failure};
use crate::filters;
use crate::gather::{self, SweepFacts};
use crate::inventory::{Inventory, Reference, Sweep, records, self_test};
use crate::report::{RegistrationStatus, Report, ReportSubject};
use crate::scanning::limits;
use crate::state::State;

/// Formats an inventory comes in.
const FORMATS: &[Format] = &[Format::Text, Format::Json, Format::Csv];

/// Runs the command.
pub fn run(context: &Context, args: &InventoryArgs) -> Result<Exit, Failure> {
    let started = context.now();
    let format = context.format(FORMATS)?;
    let limits = limits(args.limits.as_deref())?;
    let project = context.project(None)?;
    let required = required_roots(&project);
    let roots = match args.roots.is_empty() {
        true => required.clone(),
        false => args.roots.iter().map(|root| (shown(root), root.clone())).collect(),
    };
    if let Some((shown, _)) = roots.iter().find(|(_, root)| std::fs::symlink_metadata(root).is_err()) {
        return Err(Failure::usage(format!("`{shown}` does not exist; name a directory or file that does")));
    }
    let records = records(&project)?;
    let reference = Reference::of(&project, &records);
    let filters = args.filters.filters();
    let sweep = Sweep { reference: &reference, limits: &limits, filters: &filters, state: Some(&project.state) };
    let inventory = Inventory::take(context, &roots, &sweep);

    let is_whole = filters.is_empty() && !inventory.incomplete;
    let facts = SweepFacts {
        roots_scanned: roots.len(),
        roots_declared: project.config.inventory.roots.len(),
        roots_unswept: required.iter().filter(|required| !is_swept(required, &roots)).count(),
        references_unread: reference.unread,
        nothing_served: nothing_served(&project, &records, context.now()),
    };
    let subject = ReportSubject {
        name: roots.iter().map(|(shown, _)| shown.as_str()).collect::<Vec<_>>().join(" "),
        digest: None,
    };
    let mut report = Report::new("inventory", subject, started);
    report.remarks = super::scan::remarks(&inventory.skipped, inventory.incomplete);
    report.remarks.extend(filters::remark(&inventory.left_out));
    report.remarks.extend(reference.remarks.iter().cloned());
    let mut exit = exit(&inventory, &reference, args.fail_on_unregistered);
    if !args.no_record && State::exists(&project) {
        // Evidence is about every place where models may be; a look at one of them says nothing about the project.
        match is_whole && facts.roots_unswept == 0 {
            true => match record(context, &project, &inventory, &facts, started) {
                Ok(ids) => report.evidence = ids,
                // What was found is told all the same.
                Err(failure) => {
                    context.complain(&failure);
                    exit = exit.worse(failure.exit);
                }
            },
            false => context
                .say("not recorded in the ledger: evidence is about the project and all its declared roots, whole"),
        }
    }
    report.finished_at = context.now();
    fill(&mut report, inventory, exit);
    Ok(super::scan::emit(context, &report, format, exit))
}

fn shown(root: &Path) -> String {
    root.to_string_lossy().replace('\\', "/")
}

/// Where models of this project may be: the project itself, and the roots it declares.
fn required_roots(project: &Project) -> Vec<(String, PathBuf)> {
    let mut roots = vec![(shown(&project.root), project.root.clone())];
    for root in project.config.inventory.roots.iter().filter(|root| *root != ".") {
        let home = root.strip_prefix("~/").zip(std::env::home_dir());
        let path = home.map_or_else(|| project.root.join(root), |(rest, home)| home.join(rest));
        roots.push((shown(&path), path));
    }
    roots
}

/// Whether one of `roots` is `required` or lies above it.
fn is_swept(required: &(String, PathBuf), roots: &[(String, PathBuf)]) -> bool {
    let Ok(required) = std::fs::canonicalize(&required.1) else { return false };
    roots.iter().any(|(_, root)| std::fs::canonicalize(root).is_ok_and(|root| required.starts_with(root)))
}

/// Whether it is established that nothing answers requests, here or on devices: by the declaration in force, unless something
/// that was found speaks against it.
fn nothing_served(project: &Project, records: &[Record], now: Timestamp) -> bool {
    let facts = SystemFacts::gather(records, now);
    ["served", "api-served", "edge"].iter().all(|name| {
        let declared = project.config.system.get(*name) == Some(&false);
        declared && facts.established.get(*name).is_some_and(|fact| !fact.value)
    })
}

/// Appends the sweep to the project's ledger.
fn record(
    context: &Context,
    project: &Project,
    inventory: &Inventory,
    facts: &SweepFacts,
    started: Timestamp,
) -> Result<Vec<String>, Failure> {
    let tested = self_test(context, &project.state);
    let evidence = gather::inventory(project, inventory, facts, tested, (started, context.now()));
    State::open_existing(project)?.append(&[evidence])
}

fn exit(inventory: &Inventory, reference: &Reference, fail_on_unregistered: bool) -> Exit {
    let is_bad = |status| inventory.count(status) > 0;
    let found = is_bad(RegistrationStatus::Altered)
        || is_bad(RegistrationStatus::Quarantined)
        || inventory.models.iter().any(|model| model.verdict >= Verdict::Suspicious)
        || fail_on_unregistered && is_bad(RegistrationStatus::Unregistered);
    let by_findings = if found { Exit::PolicyFailed } else { Exit::Passed };
    let gaps = inventory.has_gaps() || reference.unread > 0;
    by_findings.worse(if gaps { Exit::NotEvaluated } else { Exit::Passed })
}

fn fill(report: &mut Report, inventory: Inventory, exit: Exit) {
    report.outcome = match exit {
        Exit::Passed => Outcome::Pass,
        Exit::NotEvaluated => Outcome::Unknown,
        _ => Outcome::Fail,
    };
    let duplicates: Vec<_> = inventory
        .duplicates()
        .into_iter()
        .map(|(sha256, places)| json!({"sha256": sha256, "places": places}))
        .collect();
    let counts = RegistrationStatus::ALL.map(|status| (status.as_str(), inventory.count(status)));
    report.summary.insert("models", json!(inventory.models()));
    report.summary.insert("registration", json!(std::collections::BTreeMap::from(counts)));
    report.summary.insert("duplicates", json!(duplicates));
    report.summary.insert("files", json!(inventory.files));
    report.summary.insert("bytes", json!(inventory.bytes));
    report.summary.insert("skipped", json!(inventory.skipped));
    report.summary.insert("left_out", json!(inventory.left_out));
    report.summary.insert("incomplete", json!(inventory.incomplete));
    report.findings = inventory.models.iter().flat_map(|model| model.findings.iter().cloned()).collect();
    report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    report.artifacts = inventory.models;
}
