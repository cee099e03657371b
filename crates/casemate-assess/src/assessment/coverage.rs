//! How far other people's lists are covered, and which threats meet more than one line of defence.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Assessment;
use crate::catalogue::Catalogue;
use crate::control::Stage;
use crate::control_state::State;

/// Coverage of one edition of a framework.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FrameworkCoverage {
    /// Name, e.g. `owasp-ml`.
    pub framework: String,
    /// Edition, e.g. `2023`.
    pub edition: String,
    /// Full name.
    pub title: String,
    /// Ids of the list.
    pub ids: usize,
    /// Ids that an applicable control maps to.
    pub ids_mapped: usize,
    /// Ids that a passing control maps to.
    pub ids_passing: usize,
    /// Every id that a control maps to.
    pub rows: Vec<FrameworkRow>,
}

/// One id of a framework.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FrameworkRow {
    /// The id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Applicable controls that map to it.
    pub controls: Vec<String>,
    /// Those that pass.
    pub passing: Vec<String>,
}

/// How many lines of defence a threat meets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThreatDepth {
    /// The threat.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Controls that pass.
    pub passing: Vec<String>,
    /// The stages they stand in.
    pub stages: Vec<Stage>,
    /// True with passing controls in at least two stages.
    pub holds: bool,
}

impl Assessment {
    /// Coverage of every framework edition, for the scored model.
    pub fn framework_coverage(&self, catalogue: &Catalogue) -> Vec<FrameworkCoverage> {
        let mut rows = self.rows(catalogue);
        let table = |framework: &crate::catalogue::Framework| {
            let list = format!("{}@{}", framework.framework, framework.edition);
            let rows: Vec<FrameworkRow> = rows.remove(&list).unwrap_or_default().into_values().collect();
            FrameworkCoverage {
                framework: framework.framework.clone(),
                edition: framework.edition.clone(),
                title: framework.title.clone(),
                ids: framework.ids.len(),
                ids_mapped: rows.len(),
                ids_passing: rows.iter().filter(|row| !row.passing.is_empty()).count(),
                rows,
            }
        };
        catalogue.frameworks().map(table).collect()
    }

    /// For every threat of a list that an applicable control maps to: the passing controls, and whether they stand in at
    /// least two stages of the life cycle.
    pub fn defence_in_depth(&self, catalogue: &Catalogue, framework: &str, edition: &str) -> Vec<ThreatDepth> {
        let rows = self.rows(catalogue).remove(&format!("{framework}@{edition}")).unwrap_or_default();
        let depth = |row: FrameworkRow| {
            let stages: BTreeSet<Stage> =
                row.passing.iter().filter_map(|id| catalogue.control(id)).map(|control| control.stage).collect();
            ThreatDepth {
                id: row.id,
                title: row.title,
                passing: row.passing,
                holds: stages.len() >= 2,
                stages: stages.into_iter().collect(),
            }
        };
        rows.into_values().map(depth).collect()
    }

    /// By `framework@edition`, then by id.
    fn rows(&self, catalogue: &Catalogue) -> BTreeMap<String, BTreeMap<String, FrameworkRow>> {
        let titles: BTreeMap<String, &BTreeMap<String, String>> = catalogue
            .frameworks()
            .map(|framework| (format!("{}@{}", framework.framework, framework.edition), &framework.ids))
            .collect();
        let mut rows: BTreeMap<String, BTreeMap<String, FrameworkRow>> = BTreeMap::new();
        for state in self.states().iter().filter(|state| state.is_applicable()) {
            for map in catalogue.control(&state.id).into_iter().flat_map(|control| &control.maps) {
                let title = titles.get(&map.list()).and_then(|ids| ids.get(&map.id));
                let row = rows.entry(map.list()).or_default().entry(map.id.clone()).or_insert_with(|| FrameworkRow {
                    id: map.id.clone(),
                    title: title.cloned().unwrap_or_default(),
                    controls: Vec::new(),
                    passing: Vec::new(),
                });
                row.controls.push(state.id.clone());
                if state.state == State::Pass {
                    row.passing.push(state.id.clone());
                }
            }
        }
        rows
    }
}
