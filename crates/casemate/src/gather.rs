//! Gathering evidence: what `check` and `scan` find out, as records for the ledger.

pub mod attestations;
mod container;
pub mod crypto_inventory;
pub mod custody;
pub mod load_probe;
pub mod publisher;
pub mod sealed;
pub mod signature;
pub mod training;
pub mod weights;

use std::collections::BTreeMap;

use casemate_artifact::Verdict;
use casemate_assess::Catalogue;
use casemate_core::{
    Digest, Evidence, Fact, Input, Measurement, Method, Outcome, Probe, Record, Subject, SubjectKind, Timestamp,
};
use casemate_provenance::{Account, Manifest, VerifyReport, sha256};

use crate::anchors::{AnchorState, Anchors};
use crate::context::{Context, Project};
use crate::exit::Failure;
use crate::inventory::Inventory;
use crate::models::FoundModel;
use crate::report::RegistrationStatus;
use crate::scanning::{PROBE_VERSION, Scanned, rules_digest};

/// A change in the state of a watched model.
pub const KIND_INTEGRITY_EVENT: &str = "provenance.integrity-event";

/// Kinds of evidence this build can gather.
pub const KINDS: &[&str] = &[
    "artifact.scan",
    "assess.freshness",
    "catalogue.mapping",
    "ledger.verify",
    attestations::KIND_RECORDED,
    "provenance.attestations",
    weights::KIND_APPROVAL,
    crypto_inventory::KIND,
    "provenance.custody",
    KIND_INTEGRITY_EVENT,
    "provenance.load-probe",
    "provenance.publisher",
    sealed::KIND_SEAL,
    sealed::KIND_SEALED,
    "provenance.signature",
    "provenance.training",
    "provenance.weights-diff",
    "supply.inventory",
    casemate_assess::facts::KIND_DECLARED,
    casemate_assess::facts::KIND_FOUND,
];

/// What `check` asks of every model beside its scan, in the order of their records. A probe is a file, its kind in [`KINDS`] and
/// a line here; it gives a record also where it could not tell, and an error only where nothing can go on.
pub const OF_MODELS: &[OfModel] = &[
    signature::signature,
    sealed::sealed,
    load_probe::load_probe,
    publisher::publisher,
    custody::custody,
    attestations::attestations,
    training::training,
];

/// What `check` asks of the project as a whole, likewise.
pub const OF_PROJECT: &[OfProject] = &[declaration, crypto_inventory::crypto_inventory];

/// A probe of one model.
pub type OfModel = fn(&ModelProbe<'_>) -> Result<Evidence, Failure>;

/// A probe of the project.
pub type OfProject = fn(&ProjectProbe<'_>) -> Result<Evidence, Failure>;

/// What a probe of a model may look at.
pub struct ModelProbe<'a> {
    /// The project.
    pub project: &'a ProjectProbe<'a>,
    /// The model.
    pub model: &'a FoundModel,
    /// Its files as they were scanned.
    pub manifest: &'a Manifest,
    /// How many of them were read for that.
    pub hashing: Account,
}

/// What a probe of a project may look at.
pub struct ProjectProbe<'a> {
    /// Clock, progress and messages.
    pub context: &'a Context,
    /// The project.
    pub project: &'a Project,
    /// Its ledger before this run, every record checked.
    pub records: &'a [Record],
    /// Manifests of its declared data sets, by name.
    pub datasets: &'a BTreeMap<String, Manifest>,
    /// When this run began.
    pub started: Timestamp,
}

impl ProjectProbe<'_> {
    /// From the beginning of the run to now.
    pub fn span(&self) -> (Timestamp, Timestamp) {
        (self.started, self.context.now())
    }
}

impl ModelProbe<'_> {
    /// The subject of its records: the model by the digest of all its files.
    pub fn subject(&self) -> Subject {
        Subject { kind: SubjectKind::Model, name: self.model.name.clone(), digest: self.manifest.digest() }
    }
}

/// Findings one record keeps; a file with more has said enough.
const FINDINGS_MAX: usize = 2000;

/// An empty record: who looked, at what, from when to when.
pub fn record(kind: &str, probe: &str, subject: Subject, span: (Timestamp, Timestamp)) -> Evidence {
    Evidence {
        kind: kind.into(),
        probe: Probe { id: probe.into(), version: PROBE_VERSION.into() },
        subject,
        method: Method::A,
        outcome: Outcome::Unknown,
        reason: None,
        facts: BTreeMap::new(),
        findings: Vec::new(),
        measurements: Vec::new(),
        inputs: Vec::new(),
        seed: None,
        actor: format!("casemate/{}", env!("CARGO_PKG_VERSION")),
        started_at: span.0,
        finished_at: span.1,
    }
}

/// How far a record about files rests on bytes that were read in this run.
fn read_facts(hashing: Account) -> [(&'static str, Fact); 3] {
    [
        ("files_read", Fact::Count(hashing.files_read)),
        ("files_from_cache", Fact::Count(hashing.files_from_cache)),
        ("bytes_read", Fact::Count(hashing.bytes_read)),
    ]
}

/// A number as a fact.
pub fn count(n: usize) -> Fact {
    Fact::Count(n as u64)
}

/// The record of a scan of a whole model.
pub fn scan(
    model: &str,
    digest: Digest,
    scanned: &Scanned,
    self_test: (u64, u64),
    span: (Timestamp, Timestamp),
) -> Evidence {
    let subject = Subject { kind: SubjectKind::Model, name: model.into(), digest };
    let mut evidence = record("artifact.scan", "artifact-scan", subject, span);
    let files = |wanted: &dyn Fn(&crate::scanning::ScannedFile) -> bool| {
        scanned.files.iter().filter(|file| wanted(file)).count()
    };
    let unknown = |file: &crate::scanning::ScannedFile| {
        file.report.findings.iter().any(|finding| finding.rule == "unknown-format")
    };
    let unseen = scanned.skipped.iter().filter(|skipped| skipped.matters).count();
    let verdict = scanned.verdict();
    let facts = [
        ("verdict", Fact::Text(verdict.as_str().into())),
        ("files", count(scanned.files.len() + unseen)),
        ("files_scanned", count(files(&|file| file.report.verdict != Verdict::Unscannable))),
        ("files_unscannable", count(scanned.count(Verdict::Unscannable) + unseen)),
        ("files_unsafe_format", count(files(&|file| file.runs_code_by_design))),
        ("files_unknown_format", count(files(&unknown))),
        ("bytes_unclaimed", Fact::Count(scanned.files.iter().map(|file| file.bytes_unclaimed).sum())),
        ("self_test_planted", Fact::Count(self_test.0)),
        ("self_test_caught", Fact::Count(self_test.1)),
    ];
    evidence.facts =
        facts.into_iter().chain(read_facts(scanned.hashing)).map(|(name, fact)| (name.to_owned(), fact)).collect();
    evidence.inputs = vec![Input { name: "rules".into(), digest: rules_digest() }];
    evidence.findings = scanned.findings();
    let left_out = evidence.findings.len().saturating_sub(FINDINGS_MAX);
    evidence.findings.truncate(FINDINGS_MAX);
    evidence.facts.insert("findings_left_out".into(), count(left_out));
    (evidence.outcome, evidence.reason) = match verdict {
        _ if self_test.0 != self_test.1 => {
            (Outcome::Unknown, Some("a detector missed the defect planted for it".into()))
        }
        _ if scanned.incomplete => (Outcome::Unknown, Some("the scan was interrupted".into())),
        Verdict::Clean => (Outcome::Pass, None),
        Verdict::Unscannable => (Outcome::Unknown, Some("not everything could be judged".into())),
        Verdict::Suspicious | Verdict::Malicious => (Outcome::Fail, Some(format!("the model is {}", verdict.as_str()))),
    };
    evidence
}

/// What a sweep was of, besides what it found.
pub struct SweepFacts {
    /// Roots swept.
    pub roots_scanned: usize,
    /// Roots the project declares.
    pub roots_declared: usize,
    /// Roots that should have been swept and were not.
    pub roots_unswept: usize,
    /// Declared models that could not be read.
    pub references_unread: usize,
    /// Whether it is established that nothing is served.
    pub nothing_served: bool,
}

/// The record of a sweep for models. It says nothing of endpoints: nobody looked for any.
pub fn inventory(
    project: &Project,
    inventory: &Inventory,
    sweep: &SweepFacts,
    self_test: (u64, u64),
    span: (Timestamp, Timestamp),
) -> Evidence {
    let mut evidence = record("supply.inventory", "inventory-sweep", project_subject(project), span);
    let of = |status| inventory.count(status);
    let undeclared = of(RegistrationStatus::Unregistered) + of(RegistrationStatus::Scanned);
    let (altered, quarantined) = (of(RegistrationStatus::Altered), of(RegistrationStatus::Quarantined));
    let unseen = inventory.skipped.iter().filter(|skipped| skipped.matters).count();
    let unjudged = inventory.models.iter().filter(|model| model.verdict == Verdict::Unscannable).count() + unseen;
    let facts = [
        ("roots_scanned", count(sweep.roots_scanned)),
        ("roots_declared", count(sweep.roots_declared)),
        ("roots_unswept", count(sweep.roots_unswept)),
        ("files", count(inventory.files)),
        ("files_unjudged", count(unjudged)),
        ("models", count(inventory.models())),
        // Scanned once is not registered: nobody said that it belongs here.
        ("models_unregistered", count(undeclared)),
        ("models_altered", count(altered)),
        ("models_quarantined", count(quarantined)),
        ("references_unread", count(sweep.references_unread)),
        ("nothing_served", Fact::Bool(sweep.nothing_served)),
        ("self_test_planted", Fact::Count(self_test.0)),
        ("self_test_caught", Fact::Count(self_test.1)),
    ];
    evidence.facts = facts.map(|(name, fact)| (name.to_owned(), fact)).into();
    evidence.inputs = vec![Input { name: "rules".into(), digest: rules_digest() }];
    let strays = undeclared + altered + quarantined;
    let unknown = |reason: &str| (Outcome::Unknown, Some(reason.to_owned()));
    (evidence.outcome, evidence.reason) = match () {
        () if self_test.0 == 0 || self_test.0 != self_test.1 => unknown("a model planted for the sweep was missed"),
        () if strays > 0 => {
            let what = format!("{undeclared} unregistered, {altered} altered, {quarantined} quarantined models");
            (Outcome::Fail, Some(what))
        }
        () if inventory.incomplete => unknown("the sweep was interrupted"),
        () if sweep.roots_declared == 0 => {
            unknown("casemate.toml does not say under `[inventory]` where models may be")
        }
        () if sweep.roots_unswept > 0 => unknown("not every root was swept"),
        () if unjudged > 0 || sweep.references_unread > 0 => unknown("not everything could be judged"),
        () => (Outcome::Pass, None),
    };
    evidence
}

/// The subject that stands for the project as a whole.
pub fn project_subject(project: &Project) -> Subject {
    Subject { kind: SubjectKind::Project, name: project.name.clone(), digest: sha256(project.config_text.as_bytes()) }
}

/// The record of what was found about the system. Only presence is found; nothing here says that something is absent, but
/// a declared absence counts beside a search that is `finished` and saw everything, and beside no other.
pub fn found_facts(
    project: &Project,
    found: &BTreeMap<&'static str, bool>,
    finished: bool,
    span: (Timestamp, Timestamp),
) -> Evidence {
    let mut evidence = record(casemate_assess::facts::KIND_FOUND, "project-facts", project_subject(project), span);
    evidence.facts = found.iter().map(|(name, value)| ((*name).to_owned(), Fact::Bool(*value))).collect();
    (evidence.outcome, evidence.reason) = match finished {
        true => (Outcome::Pass, None),
        false => (Outcome::Unknown, Some("not every file of the project could be looked at".into())),
    };
    evidence
}

/// The owner's declaration in `[system]`, as a signed record.
///
/// # Errors
/// None.
pub fn declaration(probe: &ProjectProbe<'_>) -> Result<Evidence, Failure> {
    let subject = project_subject(probe.project);
    let mut evidence = record(casemate_assess::facts::KIND_DECLARED, "system-declaration", subject, probe.span());
    evidence.facts =
        probe.project.config.system.iter().map(|(name, value)| (name.clone(), Fact::Bool(*value))).collect();
    evidence.method = Method::P;
    evidence.outcome = Outcome::Pass;
    Ok(evidence)
}

/// What a verification of the ledger found, besides its report.
pub struct LedgerFacts<'a> {
    /// What others keep of it.
    pub anchors: &'a Anchors,
    /// Age of the oldest record that no anchor covers, in whole days; 0 where all are covered.
    pub unanchored_days: u64,
    /// Defects planted in a copy, and how many of them were found.
    pub self_test: (u64, u64),
}

impl<'a> LedgerFacts<'a> {
    /// The facts about a ledger of `records` at `now`.
    pub fn new(anchors: &'a Anchors, records: &[Record], self_test: (u64, u64), now: Timestamp) -> Self {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        let covered = anchors.records();
        let oldest = records.iter().find(|record| record.index >= covered);
        let age_ms = oldest.map_or(0, |record| now.unix_ms().saturating_sub(record.evidence.finished_at.unix_ms()));
        Self { anchors, unanchored_days: u64::try_from(age_ms / DAY_MS).unwrap_or(0), self_test }
    }
}

/// The record of a verification of the ledger itself.
pub fn ledger_verified(
    origin: &str,
    report: &VerifyReport,
    ledger: &LedgerFacts<'_>,
    span: (Timestamp, Timestamp),
) -> Evidence {
    let digest = report.root.unwrap_or_else(|| sha256(&[]));
    let subject = Subject { kind: SubjectKind::Ledger, name: origin.into(), digest };
    let mut evidence = record("ledger.verify", "ledger-verify", subject, span);
    let invalid = report.tree_size.saturating_sub(report.records).max(report.problems.len() as u64);
    let anchors = ledger.anchors;
    let (planted, caught) = ledger.self_test;
    let facts = [
        ("records", Fact::Count(report.records)),
        ("records_invalid", Fact::Count(invalid)),
        ("records_anchored", Fact::Count(anchors.records())),
        ("anchors", count(anchors.good().count())),
        ("anchors_bad", count(anchors.count(AnchorState::Bad))),
        ("anchors_unread", count(anchors.count(AnchorState::Unread))),
        ("anchors_unverified", count(anchors.count(AnchorState::NotVerified))),
        ("witnesses", count(anchors.witnesses().len())),
        ("unanchored_days", Fact::Count(ledger.unanchored_days)),
        ("self_test_planted", Fact::Count(planted)),
        ("self_test_caught", Fact::Count(caught)),
    ];
    evidence.facts = facts.map(|(name, fact)| (name.to_owned(), fact)).into();
    let unknown = |reason: &str| (Outcome::Unknown, Some(reason.to_owned()));
    let bad = anchors.first_bad().map(|anchor| format!("an anchor does not fit: {}", anchor.place));
    (evidence.outcome, evidence.reason) = match report.is_intact() {
        false => (Outcome::Fail, report.problems.first().map(|problem| problem.what.clone())),
        true if bad.is_some() => (Outcome::Fail, bad),
        // A ledger without a record shows nothing about records.
        true if report.records == 0 => unknown("the ledger holds no record yet"),
        true if planted == 0 || planted != caught => unknown("a defect planted in a copy of the ledger was missed"),
        true if anchors.count(AnchorState::Unread) > 0 => unknown("an anchor could not be read"),
        true => (Outcome::Pass, None),
    };
    evidence
}

/// The record of the catalogue's mappings: which ids it names, and that all of them exist in their edition.
pub fn mapping(catalogue: &Catalogue, digest: Digest, span: (Timestamp, Timestamp)) -> Evidence {
    let subject = Subject { kind: SubjectKind::Catalogue, name: "catalogue".into(), digest };
    let mut evidence = record("catalogue.mapping", "catalogue-mapping", subject, span);
    let exists = |map: &casemate_assess::control::MapId| {
        catalogue.frameworks().any(|framework| {
            framework.framework == map.framework
                && framework.edition == map.edition
                && framework.ids.contains_key(&map.id)
        })
    };
    let maps: Vec<_> = catalogue.controls().flat_map(|control| &control.maps).collect();
    let unknown = maps.iter().filter(|map| !exists(map)).count();
    let frameworks: std::collections::BTreeSet<_> = maps.iter().map(|map| (&map.framework, &map.edition)).collect();
    evidence.facts =
        [("ids", count(maps.len())), ("ids_unknown", count(unknown)), ("frameworks", count(frameworks.len()))]
            .map(|(name, fact)| (name.to_owned(), fact))
            .into();
    evidence.inputs = vec![Input { name: "catalogue".into(), digest }];
    evidence.outcome = if unknown == 0 { Outcome::Pass } else { Outcome::Fail };
    evidence
}

/// The record of how much of the posture rests on fresh evidence, GOV-13 itself apart.
pub fn freshness(
    project: &Project,
    catalogue: Digest,
    states: &[casemate_assess::ControlState],
    span: (Timestamp, Timestamp),
) -> Evidence {
    let mut evidence = record("assess.freshness", "assess-freshness", project_subject(project), span);
    let applicable = states.iter().filter(|state| state.is_applicable() && state.id != "GOV-13");
    let (mut fresh, mut all) = (0, 0);
    for state in applicable {
        let weight = casemate_assess::control::weight(state.severity);
        all += weight;
        fresh += if state.fresh { weight } else { 0 };
    }
    // Cut, not rounded: a share just below a bound must not reach it.
    #[expect(clippy::cast_precision_loss, reason = "sums of 140 weights of at most 10")]
    let share = if all == 0 { 0.0 } else { (fresh as f64 / all as f64 * 1e4).floor() / 1e4 };
    evidence.measurements = vec![Measurement::exact("fresh_weight_share", share, "fraction")];
    evidence.inputs = vec![Input { name: "catalogue".into(), digest: catalogue }];
    evidence.outcome = Outcome::Pass;
    evidence
}
