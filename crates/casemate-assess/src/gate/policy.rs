//! What each gate requires, as shipped and as a user wrote it.

use std::collections::BTreeMap;

use casemate_core::Severity;
use serde::{Deserialize, Serialize};

use super::GateStage;
use crate::catalogue::{CatalogueError, Problem};
use crate::toml_text;

/// What one gate requires.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GatePolicy {
    /// The least score; 0 for none.
    pub min_score: u64,
    /// Whether every applicable critical control must earn something.
    pub no_zero_credit_critical: bool,
    /// Whether evidence of required controls must be within its maximum age.
    pub fresh: bool,
    /// Controls that must pass, sorted.
    pub required: Vec<String>,
    /// The severity from which a finding fails the gate; none where findings do not matter.
    pub fail_on: Option<Severity>,
}

/// The policies of all gates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gates {
    policies: BTreeMap<GateStage, GatePolicy>,
    /// In which ways a user's policies ask less than the shipped ones.
    loosened: BTreeMap<GateStage, Vec<String>>,
    #[serde(skip)]
    none: GatePolicy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileToml {
    gate: BTreeMap<GateStage, PolicyToml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyToml {
    min_score: Option<u64>,
    no_zero_credit_critical: Option<bool>,
    fresh: Option<bool>,
    required: Option<Vec<String>>,
    fail_on: Option<FailOn>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FailOn {
    None,
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl FailOn {
    fn severity(self) -> Option<Severity> {
        match self {
            Self::None => None,
            Self::Info => Some(Severity::Info),
            Self::Low => Some(Severity::Low),
            Self::Medium => Some(Severity::Medium),
            Self::High => Some(Severity::High),
            Self::Critical => Some(Severity::Critical),
        }
    }
}

impl Gates {
    /// The shipped policies in `text`: every stage, every required id a control.
    pub(crate) fn parse(
        path: &str,
        text: &str,
        is_control: &dyn Fn(&str) -> bool,
    ) -> Result<Self, Vec<CatalogueError>> {
        let gates = Self::default().layered(path, text, is_control)?;
        let missing = GateStage::ALL.iter().filter(|stage| !gates.policies.contains_key(stage));
        let errors: Vec<CatalogueError> = missing
            .map(|stage| CatalogueError { file: path.into(), problem: Problem::GateMissing { stage: stage.as_str() } })
            .collect();
        if errors.is_empty() { Ok(Self { loosened: BTreeMap::new(), ..gates }) } else { Err(errors) }
    }

    /// These policies with a user's file on top: keys it names replace the shipped ones, the rest stays.
    ///
    /// A file may ask for less; every way in which it does is in [`Gates::loosened`] and in each verdict.
    ///
    /// # Errors
    /// Every mistake in the file: schema, scores above 100, required ids that are no controls.
    pub fn with_policy(
        &self,
        path: &str,
        text: &str,
        catalogue: &crate::catalogue::Catalogue,
    ) -> Result<Self, Vec<CatalogueError>> {
        self.layered(path, text, &|id| catalogue.control(id).is_some())
    }

    /// What the gate at `stage` requires.
    pub fn policy(&self, stage: GateStage) -> &GatePolicy {
        self.policies.get(&stage).unwrap_or(&self.none)
    }

    /// In which ways the policy at `stage` asks less than the shipped one.
    pub fn loosened(&self, stage: GateStage) -> &[String] {
        self.loosened.get(&stage).map_or(&[], Vec::as_slice)
    }

    fn layered(&self, path: &str, text: &str, is_control: &dyn Fn(&str) -> bool) -> Result<Self, Vec<CatalogueError>> {
        let at = |problem| CatalogueError { file: path.into(), problem };
        let toml: FileToml = toml_text::parse(text).map_err(|error| vec![at(Problem::Schema(error))])?;
        let mut gates = self.clone();
        let mut errors = Vec::new();
        for (stage, toml) in toml.gate {
            let base = self.policy(stage);
            let policy = base.layered(toml);
            if policy.min_score > 100 {
                errors.push(at(Problem::GateScore { stage: stage.as_str(), score: policy.min_score }));
            }
            for id in policy.required.iter().filter(|id| !is_control(id)) {
                errors.push(at(Problem::GateControl { stage: stage.as_str(), id: id.clone() }));
            }
            gates.loosened.entry(stage).or_default().extend(base.loosened_by(&policy));
            gates.policies.insert(stage, policy);
        }
        if errors.is_empty() { Ok(gates) } else { Err(errors) }
    }
}

impl GatePolicy {
    fn layered(&self, toml: PolicyToml) -> Self {
        let mut required = toml.required.unwrap_or_else(|| self.required.clone());
        required.sort();
        required.dedup();
        Self {
            min_score: toml.min_score.unwrap_or(self.min_score),
            no_zero_credit_critical: toml.no_zero_credit_critical.unwrap_or(self.no_zero_credit_critical),
            fresh: toml.fresh.unwrap_or(self.fresh),
            required,
            fail_on: toml.fail_on.map_or(self.fail_on, FailOn::severity),
        }
    }

    /// Every way in which `other` asks less than this.
    fn loosened_by(&self, other: &Self) -> Vec<String> {
        let mut ways = Vec::new();
        if other.min_score < self.min_score {
            ways.push(format!("min_score {} is below the built-in {}", other.min_score, self.min_score));
        }
        if self.no_zero_credit_critical && !other.no_zero_credit_critical {
            ways.push("critical controls may earn nothing; the built-in policy does not allow it".into());
        }
        if self.fresh && !other.fresh {
            ways.push("evidence may be too old; the built-in policy wants it fresh".into());
        }
        for id in self.required.iter().filter(|id| !other.required.contains(id)) {
            ways.push(format!("`{id}` is not required; the built-in policy requires it"));
        }
        let word = |severity: Option<Severity>| severity.map_or("none", Severity::as_str);
        // A higher limit lets more findings through; no limit lets all.
        if self.fail_on.is_some_and(|base| other.fail_on.is_none_or(|limit| limit > base)) {
            ways.push(format!("fail_on {} is above the built-in {}", word(other.fail_on), word(self.fail_on)));
        }
        ways
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, ControlText};

    fn with(text: &str) -> Result<Gates, Vec<CatalogueError>> {
        let catalogue = fixture::catalogue(&[ControlText::new("SUP-01"), ControlText::new("SUP-02")]);
        catalogue.gates().with_policy("gates.toml", text, &catalogue)
    }

    #[test]
    fn a_users_policy_replaces_what_it_names_and_a_stricter_one_is_not_remarked_on() {
        let gates = with("[gate.merge]\nmin_score = 30\nfail_on = \"medium\"").unwrap();
        let policy = gates.policy(GateStage::Merge);
        assert_eq!((policy.min_score, policy.fail_on), (30, Some(Severity::Medium)));
        assert_eq!(policy.required, ["SUP-01", "SUP-02"]);
        assert!(gates.loosened(GateStage::Merge).is_empty());
    }

    #[test]
    fn every_way_of_asking_less_is_said_plainly() {
        let text = "[gate.release]\nmin_score = 10\nno_zero_credit_critical = false\nfresh = false\nrequired = []\nfail_on = \"none\"";
        let gates = with(text).unwrap();
        let said = gates.loosened(GateStage::Release);
        assert_eq!(said.len(), 6, "{said:#?}");
        assert!(said[0].starts_with("min_score 10 is below the built-in"));
        assert_eq!(said[5], "fail_on none is above the built-in high");
        assert!(gates.loosened(GateStage::Serve).is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("[gate.deploy]", "unknown variant `deploy`"),
            ("[gate.merge]\nmin_scor = 1", "unknown field `min_scor`"),
            ("[gate.merge]\nmin_score = 101", "a score of 101 cannot be reached"),
            ("[gate.merge]\nrequired = [\"SUP-99\"]", "gate `merge` requires `SUP-99`, which is no control"),
        ] {
            let errors = with(text).unwrap_err();
            assert!(errors[0].to_string().contains(message), "{errors:?}");
        }
    }
}
