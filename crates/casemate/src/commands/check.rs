//! `casemate check`: the main job. Finds the project's models, gathers every evidence this build can, appends it to the
//! ledger, assesses, and asks a gate.

use std::collections::BTreeMap;

use casemate_artifact::weights::compare::compare;
use casemate_artifact::{Verdict, self_test, weights};
use casemate_assess::gate::GateOutcome;
use casemate_core::{Digest, Evidence, Finding, Limits, Outcome, Record, Severity};
use casemate_provenance::{Draw, Manifest, VerifyReport};
use serde_json::json;

use crate::anchors::{self, Anchors};
use crate::cache::Cache;
use crate::cache::digests::DigestCache;
use crate::cli::{CheckArgs, Format};
use crate::comparison;
use crate::context::{Context, Project};
use crate::exit::{Exit, Failure};
use crate::found;
use crate::gather::{self, LedgerFacts, ModelProbe, ProjectProbe};
use crate::models::{self, FoundModel};
use crate::posture::{Rules, stage};
use crate::report::{DigestSet, Report, ReportSubject};
use crate::scanning::{ModelScan, Scanned, limits, scan_model};
use crate::state::{State, describe};

/// Formats a posture comes in.
pub const FORMATS: &[Format] = &[
    Format::Text,
    Format::Json,
    Format::Markdown,
    Format::Html,
    Format::Sarif,
    Format::Csv,
    Format::Junit,
    Format::Github,
    Format::Badge,
];

/// Bytes of a model whose weights are read though nothing asks for them: about half a minute.
const WEIGHTS_BYTES_MAX: u64 = 8 << 30;

/// A model that was scanned.
struct ScannedModel {
    model: FoundModel,
    manifest: Manifest,
    digest: Digest,
    scanned: Scanned,
}

/// Runs the command.
pub fn run(context: &Context, args: &CheckArgs) -> Result<Exit, Failure> {
    let started = context.now();
    let format = context.format(FORMATS)?;
    let project = context.project(args.directory.as_deref())?;
    let stage = stage(&args.stage)?;
    let rules = Rules::load(&project, started)?;
    let limits = limits(args.limits.as_deref())?;
    let mut state = State::open_or_create(&project)?;
    if state.created {
        context.say(&format!("created signing keys and an empty ledger in {}", project.state.display()));
    }
    let verified = state.verify()?;
    refuse_damaged(&verified)?;
    refuse_bad_anchors(&anchors::check(&project, &state, None, context.now())?)?;

    let census = models::census(context, &project)?;
    let datasets = models::datasets(&project)?;
    let cache = (!args.no_cache).then(|| Cache::open(context, &project, &limits)).flatten();
    let mut scanned = scan_models(context, &project, &census.models, &limits, cache.as_ref())?;
    let mut batch = evidence(context, &scanned, started);
    let records = state.records()?;
    batch.extend(weights_diffs(context, &records, &mut scanned, started)?);
    let probe = ProjectProbe { context, project: &project, records: &records, datasets: &datasets, started };
    batch.extend(probed(&probe, &scanned)?);
    let span = (started, context.now());
    let facts = found::facts(&project, scanned.iter().flat_map(|model| &model.scanned.files));
    let incomplete = census.incomplete || scanned.iter().any(|model| model.scanned.incomplete);
    // What could not be looked at may be a model: then nothing is known about the project as a whole.
    let unseen = census.skipped.iter().any(|skipped| skipped.matters);
    batch.push(gather::found_facts(&project, &facts, !incomplete && !unseen, span));
    batch.push(gather::mapping(&rules.catalogue, rules.digest, span));
    let mut ids = state.append(&batch)?;

    let digests: Vec<_> = scanned.iter().map(|model| (model.model.clone(), model.digest)).collect();
    ids.extend(close_the_circle(context, &project, &rules, &mut state, (&digests, &datasets))?);
    let situation = rules.situation(context.now(), &digests, &datasets);
    let posture = rules.posture(&state.records()?, &situation, stage);

    let subject = subject(&project, &scanned);
    let mut report = Report::new("check", subject, started);
    report.finished_at = context.now();
    report.evidence = ids;
    fill(&mut report, &scanned);
    report.summary.insert("models", json!(scanned.len()));
    report.summary.insert("skipped", json!(census.skipped));
    report.summary.insert("waivers", json!(rules.waiver_findings));
    report.summary.insert("ledger", json!({"records": verified.records, "notes": verified.notes}));
    report.remarks = super::scan::remarks(&census.skipped, incomplete);
    report.remarks.extend(cache.as_ref().and_then(|cache| cache.close(context)));
    report.remarks.extend(weights_remarks(&scanned));
    report.summary.insert("from_cache", json!(cache.as_ref().map_or(0, Cache::taken)));
    report.at = args.directory.as_ref().map(|directory| format!("-C {} ", directory.display())).unwrap_or_default();
    report.summary.insert("incomplete", json!(incomplete));
    let gate = posture.gate.as_ref().map_or(GateOutcome::Unknown, |gate| gate.outcome);
    report.posture = Some(posture);
    // Without a bar of its own the gate decides; single files are then shown by the bar of `scan`.
    report.fail_on = args.fail_on.unwrap_or(Severity::High);
    let exit = exit(gate, &report, args.fail_on, incomplete || unseen);
    report.outcome = match exit {
        Exit::Passed => Outcome::Pass,
        Exit::PolicyFailed | Exit::Integrity => Outcome::Fail,
        Exit::NotEvaluated | Exit::Usage | Exit::Handed(_) => Outcome::Unknown,
    };
    Ok(super::scan::emit(context, &report, format, exit))
}

fn exit(gate: GateOutcome, report: &Report, fail_on: Option<Severity>, not_all_seen: bool) -> Exit {
    let by_gate = match gate {
        GateOutcome::Pass => Exit::Passed,
        GateOutcome::Failed => Exit::PolicyFailed,
        GateOutcome::Unknown => Exit::NotEvaluated,
        GateOutcome::Integrity => Exit::Integrity,
    };
    let found = fail_on.is_some_and(|bar| report.findings.iter().any(|finding| finding.severity >= bar));
    let by_findings = if found { Exit::PolicyFailed } else { Exit::Passed };
    by_gate.worse(by_findings).worse(if not_all_seen { Exit::NotEvaluated } else { Exit::Passed })
}

/// A damaged ledger is never built upon.
pub fn refuse_damaged(verified: &VerifyReport) -> Result<(), Failure> {
    let Some(first) = verified.problems.first() else { return Ok(()) };
    let more = verified.problems.len() - 1;
    let and_more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    let message = format!(
        "{}{and_more}. Nothing was added. `casemate ledger verify` lists everything; restore the ledger from a copy, or move \
         the state directory away to begin a new one",
        describe(first)
    );
    Err(Failure::integrity(message))
}

/// Nothing is built on a ledger that is not the one others keep heads of.
fn refuse_bad_anchors(anchors: &Anchors) -> Result<(), Failure> {
    let Some(bad) = anchors.first_bad() else { return Ok(()) };
    let why = bad.reason.as_deref().unwrap_or("it does not fit");
    let message = format!(
        "anchor `{}`: {why}. Nothing was added. `casemate ledger verify` lists every anchor; restore the ledger that was \
         anchored from a copy, or remove an anchor that is not its",
        bad.place
    );
    Err(Failure::integrity(message))
}

fn scan_models(
    context: &Context,
    project: &Project,
    found: &[FoundModel],
    limits: &Limits,
    cache: Option<&Cache>,
) -> Result<Vec<ScannedModel>, Failure> {
    let mut models = Vec::new();
    for model in found {
        context.mention(&format!("scanning model `{}` in {}", model.name, model.path.display()));
        // A baseline has to be compared whatever it takes.
        let (cache, weights_bytes_max) = match model.baseline {
            Some(_) => (None, u64::MAX),
            None => (cache, WEIGHTS_BYTES_MAX),
        };
        let root = std::fs::canonicalize(&model.path).unwrap_or_else(|_| model.path.clone());
        let digests = DigestCache::open(context, Some(project), &root, Draw::all());
        let with = ModelScan { limits, cache, weights_bytes_max, known: digests.known() };
        let (manifest, scanned) = scan_model(context, &model.shown, &model.path, with).map_err(|error| {
            let failure = digests.failure(&error);
            Failure { message: format!("model `{}`: {}", model.name, failure.message), ..failure }
        })?;
        digests.close(context, false);
        for collision in &manifest.collisions {
            context.say(&format!(
                "model `{}`: `{}` and `{}` differ in case alone",
                model.name, collision.path, collision.other
            ));
        }
        models.push(ScannedModel { model: model.clone(), digest: manifest.digest(), manifest, scanned });
    }
    Ok(models)
}

fn evidence(context: &Context, scanned: &[ScannedModel], started: casemate_core::Timestamp) -> Vec<Evidence> {
    let tested = self_test();
    let span = (started, context.now());
    scanned.iter().map(|model| gather::scan(&model.model.name, model.digest, &model.scanned, tested, span)).collect()
}

/// What every registered probe says of the models and of the project.
fn probed(project: &ProjectProbe<'_>, scanned: &[ScannedModel]) -> Result<Vec<Evidence>, Failure> {
    let mut batch = Vec::new();
    for model in scanned {
        let hashing = model.scanned.hashing;
        let probe = ModelProbe { project, model: &model.model, manifest: &model.manifest, hashing };
        for of_model in gather::OF_MODELS {
            batch.push(of_model(&probe)?);
        }
    }
    for of_project in gather::OF_PROJECT {
        batch.push(of_project(project)?);
    }
    Ok(batch)
}

/// Every model held against the baseline it names; for those that name none, a record that says what to do.
fn weights_diffs(
    context: &Context,
    records: &[Record],
    scanned: &mut [ScannedModel],
    started: casemate_core::Timestamp,
) -> Result<Vec<Evidence>, Failure> {
    let mut batch = Vec::new();
    let tested = weights::self_test(&crate::weights::READER);
    for model in scanned.iter_mut().filter(|model| !model.scanned.incomplete) {
        let Some(path) = &model.model.baseline else {
            let span = (started, context.now());
            batch.push(gather::weights::without_baseline(&model.model.name, model.digest, &model.model.shown, span));
            continue;
        };
        let baseline = comparison::read_weights(path)?;
        let difference = compare(&baseline.table, &crate::weights::table(&model.manifest, &model.scanned));
        let findings = comparison::findings(&difference, &model.model.shown);
        model.scanned.others.clone_from(&findings);
        let diff = gather::weights::WeightsDiff {
            model: &model.model.name,
            digest: model.digest,
            approved: gather::weights::is_approved(records, &model.model.name, &baseline),
            baseline: &baseline,
            difference: &difference,
            findings,
        };
        batch.push(gather::weights::weights_diff(diff, tested, (started, context.now())));
    }
    Ok(batch)
}

/// What a reader has to know about weights that were not read.
fn weights_remarks(scanned: &[ScannedModel]) -> Vec<String> {
    let unread = scanned.iter().filter(|model| !model.scanned.weights_read).map(|model| {
        format!(
            "weights of model `{}` were not read: it is larger than {} GiB and names no baseline; `casemate scan \
             --weights {}` reads them",
            model.model.name,
            WEIGHTS_BYTES_MAX >> 30,
            model.model.shown
        )
    });
    unread.collect()
}

/// Evidence about the evidence: the ledger verifies with the new records in it, and so much of the posture is fresh.
fn close_the_circle(
    context: &Context,
    project: &Project,
    rules: &Rules,
    state: &mut State,
    (models, datasets): (&[(FoundModel, Digest)], &BTreeMap<String, Manifest>),
) -> Result<Vec<String>, Failure> {
    let began = context.now();
    let verified = state.verify()?;
    refuse_damaged(&verified)?;
    let records = state.records()?;
    let anchors = anchors::check(project, state, None, context.now())?;
    refuse_bad_anchors(&anchors)?;
    let ledger = LedgerFacts::new(&anchors, &records, state.ledger().self_test(), context.now());
    let mut batch = vec![gather::ledger_verified(&state.key().name, &verified, &ledger, (began, context.now()))];
    let situation = rules.situation(context.now(), models, datasets);
    let assessment = rules.assessment(&records, &situation);
    batch.push(gather::freshness(project, rules.digest, assessment.states(), (began, context.now())));
    state.append(&batch)
}

fn subject(project: &Project, scanned: &[ScannedModel]) -> ReportSubject {
    let digest = match scanned {
        [one] => Some(DigestSet { sha256: one.digest }),
        _ => None,
    };
    ReportSubject { name: project.name.clone(), digest }
}

fn fill(report: &mut Report, scanned: &[ScannedModel]) {
    for model in scanned {
        report.artifacts.extend(model.scanned.files.iter().map(|file| file.report.clone()));
        report.findings.extend(model.scanned.findings());
    }
    report.findings.sort_by_key(|finding: &Finding| std::cmp::Reverse(finding.severity));
    let verdicts = [Verdict::Clean, Verdict::Unscannable, Verdict::Suspicious, Verdict::Malicious];
    let counts: BTreeMap<_, _> = verdicts
        .into_iter()
        .map(|verdict| (verdict.as_str(), scanned.iter().map(|model| model.scanned.count(verdict)).sum::<usize>()))
        .collect();
    report.summary.insert("files", json!(report.artifacts.len()));
    report.summary.insert("verdicts", json!(counts));
}
