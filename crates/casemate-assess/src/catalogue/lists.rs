//! The lists a catalogue refers to: frameworks with pinned editions, evidence kinds, legal obligations.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use casemate_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::{CatalogueError, Problem};
use crate::control::MapId;
use crate::toml_text;
use crate::words::words;

/// One edition of a framework: its ids with short titles, never its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Framework {
    /// Name, e.g. `owasp-ml`.
    pub framework: String,
    /// Edition, e.g. `2023`.
    pub edition: String,
    /// Full name.
    pub title: String,
    /// Licence of the list.
    pub licence: String,
    /// Where it is published.
    pub source: String,
    /// When somebody last compared it with its source.
    #[serde(deserialize_with = "toml_text::date")]
    pub reviewed_on: Timestamp,
    /// Ids and titles.
    pub ids: BTreeMap<String, String>,
}

/// How the ids of one framework were renumbered: `2025:LLM03` became `2026:LLM04`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Crosswalk {
    map: BTreeMap<String, String>,
}

/// A kind of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// What it shows.
    pub title: String,
    /// The command that gathers it.
    pub command: String,
    /// The capability behind it.
    pub capability: String,
}

words! {
    /// Unit of a legal deadline.
    Unit {
        /// Hours.
        Hours = "hours",
        /// Days, holidays included.
        CalendarDays = "calendar-days",
        /// Months of the calendar.
        Months = "months",
        /// Years.
        Years = "years",
        /// A fixed date.
        Date = "date",
    }
}

words! {
    /// Whether somebody compared an entry with the law.
    ReviewStatus {
        /// Compared.
        Checked = "checked",
        /// Confirm before acting on it.
        ToBeChecked = "to-be-checked",
    }
}

/// A legal duty with its clock: data, never legal prose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Obligation {
    /// Kebab-case id.
    pub id: String,
    /// Which law.
    pub law: String,
    /// Which article.
    pub article: String,
    /// On whom.
    pub role: String,
    /// When it arises.
    pub trigger: String,
    /// The event that starts the clock.
    pub clock_start: String,
    /// How long.
    pub length: u32,
    /// In which unit.
    pub unit: Unit,
    /// From when on.
    #[serde(deserialize_with = "toml_text::date")]
    pub applies_from: Timestamp,
    /// Where it stands.
    pub source: String,
    /// When somebody last compared it with its source.
    #[serde(deserialize_with = "toml_text::date")]
    pub reviewed_on: Timestamp,
    /// What to know.
    pub note: String,
    /// Whether it was compared at all.
    pub status: ReviewStatus,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KindsToml {
    kinds: BTreeMap<String, Kind>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObligationsToml {
    obligation: Vec<Obligation>,
}

/// The lists of one catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Lists {
    /// By `framework@edition`.
    pub(super) frameworks: BTreeMap<String, Framework>,
    /// By framework, then `edition:id`.
    pub(super) crosswalks: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) kinds: BTreeMap<String, Kind>,
    pub(super) obligations: Vec<Obligation>,
}

impl Lists {
    /// Reads every list, keeping what could be read.
    pub(super) fn read(sources: &super::Sources, errors: &mut Vec<CatalogueError>) -> Self {
        let mut lists = Self::default();
        let mut walks = Vec::new();
        for (path, text) in sources.frameworks {
            let stem = path.rsplit('/').next().and_then(|name| name.strip_suffix(".toml")).unwrap_or_default();
            match stem.strip_prefix("crosswalk-") {
                Some(framework) => walks.push((path, framework, text)),
                None => lists.read_framework(path, text, errors),
            }
        }
        for (path, framework, text) in walks {
            lists.read_crosswalk(path, framework, text, errors);
        }
        let (path, text) = sources.kinds;
        if let Some(KindsToml { kinds }) = read(path, text, errors) {
            for (kind, _) in kinds.iter().filter(|(_, kind)| kind.command.trim().is_empty()) {
                let problem = Problem::MissingCommand { kind: kind.clone() };
                errors.push(CatalogueError { file: path.into(), problem });
            }
            lists.kinds = kinds;
        }
        let (path, text) = sources.obligations;
        if let Some(ObligationsToml { mut obligation }) = read(path, text, errors) {
            obligation.sort_by(|a, b| a.id.cmp(&b.id));
            for pair in obligation.windows(2) {
                if let [a, b] = pair
                    && a.id == b.id
                {
                    let problem = Problem::Duplicate { id: a.id.clone(), other: path.into() };
                    errors.push(CatalogueError { file: path.into(), problem });
                }
            }
            lists.obligations = obligation;
        }
        lists
    }

    fn read_framework(&mut self, path: &str, text: &str, errors: &mut Vec<CatalogueError>) {
        let Some(framework) = read::<Framework>(path, text, errors) else { return };
        let id = format!("{}@{}", framework.framework, framework.edition);
        match self.frameworks.entry(id) {
            Entry::Occupied(taken) => {
                let problem = Problem::Duplicate { id: taken.key().clone(), other: "another file".into() };
                errors.push(CatalogueError { file: path.into(), problem });
            }
            Entry::Vacant(free) => {
                free.insert(framework);
            }
        }
    }

    fn read_crosswalk(&mut self, path: &str, framework: &str, text: &str, errors: &mut Vec<CatalogueError>) {
        let Some(Crosswalk { map }) = read(path, text, errors) else { return };
        for text in map.iter().flat_map(|(old, new)| [old, new]) {
            let whole = format!("{framework}@{text}");
            let checked = MapId::parse(&whole).ok_or(Problem::MapShape { id: whole }).and_then(|id| self.check(&id));
            errors.extend(checked.err().map(|problem| CatalogueError { file: path.into(), problem }));
        }
        self.crosswalks.insert(framework.into(), map);
    }

    /// Whether the pinned editions have `id`.
    pub(super) fn check(&self, id: &MapId) -> Result<(), Problem> {
        match self.frameworks.get(&id.list()) {
            None => Err(Problem::UnknownEdition { id: id.to_string(), list: id.list() }),
            Some(framework) if framework.ids.contains_key(&id.id) => Ok(()),
            Some(_) => Err(Problem::UnknownMapId { id: id.to_string(), list: id.list() }),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &str, text: &str, errors: &mut Vec<CatalogueError>) -> Option<T> {
    toml_text::parse(text)
        .map_err(|error| errors.push(CatalogueError { file: path.into(), problem: Problem::Schema(error) }))
        .ok()
}
