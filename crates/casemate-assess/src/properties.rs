//! Properties of the score over random systems: no trick raises it, and nothing but content changes it.

use std::sync::LazyLock;

use casemate_core::{Evidence, Fact, Input, Method, Outcome, Probe, Record, Subject, SubjectKind, Timestamp};
use proptest::prelude::*;

use crate::assessment::{Assessment, assess};
use crate::catalogue::{Catalogue, Sources};
use crate::control_state::PPM;
use crate::facts;
use crate::fixture::{self, NOW, digest, record};
use crate::predicate::{Dialect, Predicate};
use crate::situation::{Dataset, ModelStage, Situation};

const CASES: u32 = 4_096;
const N_CONTROLS: usize = 12;
const N_CATALOGUES: usize = 32;

fn config() -> ProptestConfig {
    ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() }
}

/// Catalogues of twelve controls of mixed severity, verification, age and scope; each machine check has a kind of its own.
static CATALOGUES: LazyLock<Vec<Catalogue>> = LazyLock::new(|| (0..N_CATALOGUES).map(mixed_catalogue).collect());

const CHECKS: [(&str, &[(&str, &str)]); 8] = [
    ("A", &[("model", "A")]),
    ("A", &[("dataset", "A"), ("project", "A")]),
    ("C", &[("route", "C")]),
    ("A+P", &[("model", "A"), ("project", "P")]),
    ("C+P", &[("route", "C"), ("model", "P")]),
    ("A+C", &[("model", "A"), ("route", "C")]),
    ("C/P", &[("route", "C"), ("model", "P")]),
    ("P", &[("project", "P")]),
];

fn mixed_catalogue(n: usize) -> Catalogue {
    let pick =
        |list: &[&'static str], control: usize, salt: usize| list[(n * 31 + control * 17 + salt * n) % list.len()];
    let controls: Vec<(String, String)> = (0..N_CONTROLS)
        .map(|control| {
            let (verification, checks) = CHECKS[(n * 5 + control * 3 + control / 4) % CHECKS.len()];
            let severity = pick(&["low", "critical", "high", "medium", "low", "medium"], control, 1);
            let max_age =
                pick(&["{ days = 7 }", "{ days = 30 }", "{ per = \"model-digest\" }", "{ days = 1 }"], control, 2);
            let applies = pick(&["all", "served", "llm", "served and not llm", "all"], control, 3);
            let id = format!("C-{control:02}");
            (
                format!("controls/release/{id}.toml"),
                control_text([&id, severity, verification, max_age, applies], checks),
            )
        })
        .collect();
    let mut kinds = "[kinds.\"person.decision\"]\ntitle = \"t\"\ncommand = \"c\"\ncapability = \"person\"\n".to_owned();
    for kind in (0..N_CONTROLS).flat_map(|n| [format!("k.C-{n:02}-0"), format!("k.C-{n:02}-1")]).chain(["k.pad".into()])
    {
        kinds += &format!("[kinds.\"{kind}\"]\ntitle = \"t\"\ncommand = \"c\"\ncapability = \"x\"\n");
    }
    Catalogue::compile(&Sources {
        controls: &controls,
        frameworks: &[],
        kinds: ("kinds.toml", &kinds),
        gates: ("gates.toml", "[gate.merge]\n[gate.release]\n[gate.serve]\n[gate.retire]\n"),
        obligations: ("obligations.toml", "obligation = []"),
    })
    .unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn control_text([id, severity, verification, max_age, applies]: [&str; 5], checks: &[(&str, &str)]) -> String {
    let mut text = format!(
        "id = \"{id}\"\ntitle = \"t\"\nseverity = \"{severity}\"\nseverity_source = \"proposed\"\nstage = \"release\"\n\
         category = \"privacy\"\nverification = \"{verification}\"\nmax_age = {max_age}\napplies = \"{applies}\"\n\
         producers = [\"x\"]\nasked_by = []\nstatement = \"s\"\nrationale = \"r\"\nmaps = []\n"
    );
    for (n, (subject, method)) in checks.iter().enumerate() {
        let kind = if id == "PAD" { "k.pad".into() } else { kind(id, n, method) };
        text += &format!(
            "[[check]]\nevidence = \"{kind}\"\nsubject = \"{subject}\"\nmethod = \"{method}\"\npass = \"outcome == pass\"\n"
        );
    }
    text + "[remediation]\ntext = \"t\"\ncommand = \"c\"\neffort = \"hours\"\n"
}

fn kind(control: &str, check: usize, method: &str) -> String {
    if method == "P" { "person.decision".into() } else { format!("k.{control}-{check}") }
}

/// One run of one check.
#[derive(Clone, Debug)]
struct Run {
    control: usize,
    check: usize,
    outcome: Outcome,
    age_hours: i64,
    probe: u8,
    subject: u8,
    rules: Option<u8>,
}

/// One random system.
#[derive(Clone, Debug)]
struct System {
    catalogue: usize,
    runs: Vec<Run>,
    found: Option<Said>,
    declared: Option<Said>,
}

/// What one record says about the system.
#[derive(Clone, Debug)]
struct Said {
    served: Option<bool>,
    llm: Option<bool>,
    finished: bool,
    age_days: i64,
}

fn runs() -> impl Strategy<Value = Run> {
    let outcome = prop_oneof![4 => Just(Outcome::Pass), 1 => Just(Outcome::Fail), 1 => Just(Outcome::Unknown)];
    let age_hours = prop_oneof![3 => 0..24_i64, 2 => 0..2_000_i64];
    let rules = prop_oneof![3 => Just(None), 2 => Just(Some(50_u8)), 1 => Just(Some(51_u8))];
    (0..N_CONTROLS, 0..2_usize, outcome, age_hours, 0..2_u8, 0..3_u8, rules).prop_map(
        |(control, check, outcome, age_hours, probe, subject, rules)| Run {
            control,
            check,
            outcome,
            age_hours,
            probe,
            subject: subject / 2,
            rules,
        },
    )
}

fn said(values: &'static [Option<bool>]) -> impl Strategy<Value = Option<Said>> {
    let fact = || prop::sample::select(values);
    let said = (fact(), fact(), prop::bool::weighted(0.9), 0..800_i64)
        .prop_map(|(served, llm, finished, age_days)| Said { served, llm, finished, age_days });
    prop::option::weighted(0.9, said)
}

fn systems() -> impl Strategy<Value = System> {
    // The tool's own searches say what is there, never what is not.
    let (found, declared) = (said(&[None, Some(true)]), said(&[None, Some(true), Some(false), Some(false)]));
    (0..N_CATALOGUES, prop::collection::vec(runs(), 0..60), found, declared)
        .prop_map(|(catalogue, runs, found, declared)| System { catalogue, runs, found, declared })
}

impl Said {
    fn record(&self, kind: &str) -> Record {
        let mut facts = fixture::evidence(kind, if self.finished { Outcome::Pass } else { Outcome::Unknown });
        facts.subject = Subject { kind: SubjectKind::Project, name: "project".into(), digest: digest(7) };
        for (name, value) in [("served", self.served), ("llm", self.llm)] {
            facts.facts.extend(value.map(|value| (name.to_owned(), Fact::Bool(value))));
        }
        facts.finished_at = NOW().plus_days(-self.age_days);
        facts.started_at = facts.finished_at;
        record(facts)
    }
}

impl System {
    fn catalogue(&self) -> &'static Catalogue {
        &CATALOGUES[self.catalogue]
    }

    fn records(&self) -> Vec<Record> {
        let mut records: Vec<Record> = self.runs.iter().filter_map(|run| self.evidence(run)).map(record).collect();
        let about = [(facts::KIND_FOUND, &self.found), (facts::KIND_DECLARED, &self.declared)];
        records.extend(about.into_iter().filter_map(|(kind, said)| Some(said.as_ref()?.record(kind))));
        records
    }

    fn evidence(&self, run: &Run) -> Option<Evidence> {
        let id = format!("C-{:02}", run.control);
        let check = self.catalogue().control(&id)?.checks.get(run.check)?;
        let mut evidence = fixture::evidence(&check.evidence, run.outcome);
        let name = if run.subject == 0 { "first" } else { "second" };
        // Models and datasets are bound by digest: the second one is not the project's.
        let digest_of = |n| digest(n + 10 * run.subject);
        let digest = match check.subject {
            SubjectKind::Model => digest_of(1),
            SubjectKind::Dataset => digest_of(2),
            _ => digest(9),
        };
        evidence.subject = Subject { kind: check.subject, name: name.into(), digest };
        evidence.method = check.method;
        if check.method == Method::P {
            evidence.facts.insert("control".into(), Fact::Text(id));
        }
        evidence.probe = Probe { id: format!("probe-{}", run.probe), version: "1".into() };
        evidence.inputs.extend(run.rules.map(|n| Input { name: "rules".into(), digest: fixture::digest(n) }));
        evidence.finished_at = Timestamp::from_unix_ms(NOW().unix_ms() - run.age_hours * 3_600_000);
        evidence.started_at = evidence.finished_at;
        Some(evidence)
    }

    fn situation(&self) -> Situation {
        let mut situation = Situation::at(NOW());
        situation.models.push(fixture::model("first", 1, Some(ModelStage::Serving)));
        situation.datasets.push(Dataset { name: "first".into(), digest: digest(2) });
        situation.inputs.insert("rules".into(), [digest(50)].into());
        situation.kinds_available = self.catalogue().kinds().map(|(kind, _)| kind.to_owned()).collect();
        situation
    }

    fn assess(&self) -> Assessment {
        assess(self.catalogue(), &self.records(), &self.situation())
    }

    /// Fresh passes of every check of a control, by every probe, on every subject.
    fn improved(&self, control: usize) -> Self {
        let mut improved = self.clone();
        for (check, probe, subject) in (0..8_u8).map(|n| (usize::from(n & 1), n >> 1 & 1, n >> 2)) {
            // Newer than every other run by place in the ledger is not needed: nothing is younger than this.
            improved.runs.push(Run {
                control,
                check,
                outcome: Outcome::Pass,
                age_hours: -1,
                probe,
                subject,
                rules: None,
            });
        }
        improved
    }
}

/// Value and exact points: a trick must not even gain below the point.
fn points(assessment: &Assessment) -> (u64, u64) {
    (assessment.score.value, assessment.explain().unwrap().points_micro)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn skipping_a_check_never_raises_the_score(system in systems(), control in 0..N_CONTROLS, check in 0..2_usize) {
        let mut skipped = system.clone();
        skipped.runs.retain(|run| (run.control, run.check) != (control, check));
        prop_assert!(points(&skipped.assess()) <= points(&system.assess()));
    }

    #[test]
    fn leaving_out_what_is_known_of_the_system_never_raises_the_score(system in systems(), found in any::<bool>()) {
        let mut silent = system.clone();
        let left_out = if found { &mut silent.found } else { &mut silent.declared };
        *left_out = None;
        prop_assert!(points(&silent.assess()) <= points(&system.assess()));
    }

    #[test]
    fn waiving_never_changes_the_score(system in systems(), waived in 0..1_u32 << N_CONTROLS) {
        let mut situation = system.situation();
        for control in (0..N_CONTROLS).filter(|control| waived >> control & 1 == 1) {
            situation.waivers.extend(fixture::waivers(&format!("C-{control:02}"), "*"));
        }
        let with = assess(system.catalogue(), &system.records(), &situation);
        prop_assert_eq!(points(&with), points(&system.assess()));
    }

    #[test]
    fn padding_with_passing_controls_never_raises_the_score(system in systems(), n in 1..40_usize) {
        let files: Vec<(String, String)> = (0..n)
            .map(|n| {
                let text = control_text(["PAD", "low", "A", "{ days = 7 }", "all"], &[("model", "A")]);
                (format!("PAD-{n:02}.toml"), text.replace("\"PAD\"", &format!("\"PAD-{n:02}\"")))
            })
            .collect();
        let padded = system.catalogue().with_overlay(&files).unwrap();
        let mut records = system.records();
        records.push(record(fixture::passing("k.pad")));
        let with = assess(&padded, &records, &system.situation());
        prop_assert!(points(&with) <= points(&system.assess()));
        prop_assert!(with.controls.iter().filter(|control| control.id.starts_with("PAD")).all(|c| c.credit > 0.99));
    }

    #[test]
    fn a_second_clean_model_never_raises_the_score(system in systems(), stage in 0..ModelStage::ALL.len(), open in any::<bool>()) {
        let mut situation = system.situation();
        situation.models[0].stage = if open { None } else { Some(ModelStage::Serving) };
        let before = assess(system.catalogue(), &system.records(), &situation);
        situation.models.push(fixture::model("second", 11, Some(ModelStage::ALL[stage])));
        let clean = System { runs: Vec::new(), ..system.clone() };
        let clean = (0..N_CONTROLS).fold(clean, |clean, control| clean.improved(control));
        let mut records = system.records();
        let about_second = |record: &Record| record.evidence.subject.digest == digest(11);
        records.extend(clean.records().into_iter().filter(about_second));
        prop_assert!(points(&assess(system.catalogue(), &records, &situation)) <= points(&before));
    }

    #[test]
    fn ageing_never_raises_the_score(system in systems(), hours in prop_oneof![0..3_000_i64, 0..30_000_i64]) {
        let mut later = system.situation();
        later.now = Timestamp::from_unix_ms(NOW().unix_ms() + hours * 3_600_000);
        prop_assert!(points(&assess(system.catalogue(), &system.records(), &later)) <= points(&system.assess()));
    }

    #[test]
    fn improving_one_control_never_lowers_the_score(system in systems(), control in 0..N_CONTROLS) {
        let mut situation = system.situation();
        situation.now = Timestamp::from_unix_ms(NOW().unix_ms() + 3_600_000);
        let score = |system: &System| points(&assess(system.catalogue(), &system.records(), &situation));
        prop_assert!(score(&system.improved(control)) >= score(&system));
    }

    #[test]
    fn order_and_repetition_change_no_byte(system in systems(), seed in any::<u64>()) {
        let mut records = system.records();
        let bytes = serde_json::to_vec(&assess(system.catalogue(), &records, &system.situation())).unwrap();
        let n = records.len();
        for i in (1..n).rev() {
            let chance = casemate_core::Seed(seed).part(i as u64).0 % (i as u64 + 1);
            let j = usize::try_from(chance).unwrap();
            records.swap(i, j);
        }
        let repeated: Vec<Record> = records.iter().take(n / 2).cloned().collect();
        records.extend(repeated);
        let mut situation = system.situation();
        situation.waivers.reverse();
        prop_assert_eq!(serde_json::to_vec(&assess(system.catalogue(), &records, &situation)).unwrap(), bytes);
    }

    #[test]
    fn attestation_alone_never_exceeds_fifty(system in systems()) {
        let mut attested = (0..N_CONTROLS).fold(system, |system, control| system.improved(control));
        let catalogue = attested.catalogue();
        attested.runs.retain(|run| {
            let control = catalogue.control(&format!("C-{:02}", run.control)).unwrap();
            control.checks.get(run.check).is_some_and(|check| check.method == Method::P)
        });
        prop_assert!(attested.assess().score.value <= 50);
        // Nor where no machine could have looked.
        let mut blind = attested.situation();
        blind.kinds_available.clear();
        prop_assert!(assess(catalogue, &attested.records(), &blind).score.value <= 50);
    }

    #[test]
    fn the_terms_always_sum_to_the_score(system in systems()) {
        let assessment = system.assess();
        let explanation = assessment.explain().unwrap();
        let sum: u64 = explanation.terms.iter().map(|term| term.points_micro).sum();
        let lost = explanation.lost_to_cap_micro + explanation.lost_to_rounding_micro;
        prop_assert_eq!(sum - lost, assessment.score.value * PPM);
        prop_assert!(assessment.score.value <= assessment.score.cap);
        prop_assert!((0.0..=1.0).contains(&assessment.score.coverage));
    }

    #[test]
    fn predicates_on_any_text_return(text in ".{0,300}") {
        for dialect in [Dialect::Applies, Dialect::Pass] {
            if let Ok(predicate) = Predicate::parse(dialect, &text) {
                predicate.explain(&fixture::passing("artifact.scan"));
            }
        }
    }

    #[test]
    fn predicates_on_any_words_return(words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..40)) {
        let text = words.join(" ");
        for dialect in [Dialect::Applies, Dialect::Pass] {
            match Predicate::parse(dialect, &text) {
                Ok(predicate) => {
                    let trace = predicate.explain(&fixture::passing("artifact.scan"));
                    prop_assert_eq!(trace.truth, predicate.evaluate(&fixture::passing("artifact.scan")));
                    prop_assert!(trace.terms.iter().any(|term| term.decisive));
                    prop_assert_eq!(&Predicate::parse(dialect, predicate.text()).unwrap(), &predicate);
                }
                Err(error) => prop_assert!(error.column <= text.chars().count() + 1),
            }
        }
    }
}

const WORDS: [&str; 22] = [
    "and",
    "or",
    "not",
    "(",
    ")",
    "==",
    "!=",
    "<",
    ">=",
    "outcome",
    "pass",
    "facts.x",
    "true",
    "false",
    "all",
    "llm",
    "1.5",
    "'a'",
    "value(m)",
    "lower95(m, attack='pgd')",
    "n(m)",
    "unknown",
];
