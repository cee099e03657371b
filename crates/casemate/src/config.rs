//! `casemate.toml`: what the project says of itself.

use std::collections::BTreeMap;

use casemate_assess::ModelStage;
use serde::Deserialize;

/// The project's configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The project.
    #[serde(default)]
    pub project: ProjectConfig,
    /// Its models.
    #[serde(default, rename = "model")]
    pub models: Vec<ModelConfig>,
    /// Its datasets.
    #[serde(default, rename = "dataset")]
    pub datasets: Vec<DatasetConfig>,
    /// Facts the tool cannot see for itself, kebab-case.
    #[serde(default)]
    pub system: BTreeMap<String, bool>,
    /// Where policies stand.
    #[serde(default)]
    pub policy: PolicyConfig,
}

/// `[project]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectConfig {
    /// Name; the directory's by default.
    pub name: Option<String>,
}

/// `[[model]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Name.
    pub name: String,
    /// File or directory, relative to the configuration.
    pub path: String,
    /// Where it stands in its life.
    pub stage: Option<ModelStage>,
}

/// `[[dataset]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// Name.
    pub name: String,
    /// File or directory, relative to the configuration.
    pub path: String,
    /// Column with the label, for supervised data.
    pub label: Option<String>,
}

/// `[policy]`: files beside the configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// Gates of one's own, in the shape of the shipped ones.
    pub gates: Option<String>,
    /// Directory of controls that add to the catalogue or tighten it.
    pub overlay: Option<String>,
    /// Directory of waivers [default: waivers].
    pub waivers: Option<String>,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// One line that says where and what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| at_line(text, &error))?;
        let mut names = std::collections::BTreeSet::new();
        match config.models.iter().map(|model| &model.name).find(|name| !names.insert(*name)) {
            Some(name) => Err(format!("two models are called `{name}`; evidence could not tell them apart")),
            None => Ok(config),
        }
    }
}

/// A TOML error in one line, with the line it stands in.
pub fn at_line(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', " ");
    match error.span() {
        Some(span) => {
            let line = text.get(..span.start).unwrap_or(text).matches('\n').count() + 1;
            format!("line {line}: {message}")
        }
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_with_their_line() {
        let error = Config::parse("[project]\nname = \"x\"\n\n[[model]]\nname = 3\n").unwrap_err();
        assert!(error.starts_with("line 5:"), "{error}");
        let error = Config::parse("[projct]\n").unwrap_err();
        assert!(error.contains("projct"), "{error}");
        let twice = "[[model]]\nname = \"a\"\npath = \"a\"\n[[model]]\nname = \"a\"\npath = \"b\"\n";
        assert!(Config::parse(twice).unwrap_err().contains("two models"));
    }
}
