//! `casemate.toml`: what the project says of itself.

pub mod base;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use casemate_assess::ModelStage;
use casemate_provenance::attestation::predicate::Role;
use serde::Deserialize;

use base::BaseConfig;

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
    /// Models of others that its own build on.
    #[serde(default, rename = "base")]
    pub bases: Vec<BaseConfig>,
    /// Facts the tool cannot see for itself, kebab-case.
    #[serde(default)]
    pub system: BTreeMap<String, bool>,
    /// Whose signatures count.
    #[serde(default)]
    pub trust: TrustConfig,
    /// Where policies stand.
    #[serde(default)]
    pub policy: PolicyConfig,
    /// Where models may be.
    #[serde(default)]
    pub inventory: InventoryConfig,
    /// Where heads of the ledger are kept by others.
    #[serde(default)]
    pub ledger: LedgerConfig,
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
    /// File or directory, relative to the project's directory.
    pub path: String,
    /// Where it stands in its life.
    pub stage: Option<ModelStage>,
    /// Table of the approved weights, relative to the project's directory and outside of the model.
    pub baseline: Option<String>,
    /// Its signature, relative to the project's directory.
    pub signature: Option<String>,
    /// Where it lies at rest, relative to the project's directory or absolute; its own path without it.
    #[serde(default)]
    pub stored: Vec<String>,
    /// Attestations about it, relative to the project's directory and outside of the model.
    pub attestations: Option<String>,
    /// What it is shipped in.
    pub container: Option<Container>,
}

/// What a model is shipped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// In no container image: its files are.
    None,
}

/// `[[dataset]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// Name.
    pub name: String,
    /// File or directory, relative to the project's directory.
    pub path: String,
    /// Column with the label, for supervised data.
    pub label: Option<String>,
}

/// `[trust]`: public keys of signers, PEM files in the project's directory.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustConfig {
    /// Keys of first signatures: ECDSA.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Key of second signatures: ML-DSA-65. Where one is named, a good second signature is demanded.
    pub pq_key: Option<String>,
    /// Keys of those who cosign heads of the ledger, as `casemate ledger key` prints them.
    #[serde(default)]
    pub witnesses: Vec<String>,
    /// Keys of attestations, by what they may sign.
    #[serde(default)]
    pub roles: BTreeMap<Role, Vec<String>>,
}

/// `[ledger]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerConfig {
    /// Files with exported checkpoints, or directories of them, that whoever writes the ledger cannot change: relative to the
    /// project or absolute, outside of the state directory.
    #[serde(default)]
    pub anchors: Vec<String>,
    /// Whether checkpoints are kept as git notes under `refs/notes/casemate`, and looked for there.
    #[serde(default)]
    pub git_notes: bool,
    /// Authorities whose time stamps count, PEM in the project's directory.
    pub tsa_roots: Option<String>,
}

/// `[policy]`: files in the project's directory.
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

/// `[inventory]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryConfig {
    /// Every store and cache that holds models of this system, besides the project itself; `.` alone says there is no other.
    /// Relative to the project, absolute, or `~/…`.
    #[serde(default)]
    pub roots: Vec<String>,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// One line that says where and what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut config: Self = toml::from_str(text).map_err(|error| at_line(text, &error))?;
        config.check()?;
        Ok(config)
    }

    /// Refuses what would make two things one, or leave the project.
    fn check(&mut self) -> Result<(), String> {
        self.models.iter_mut().try_for_each(ModelConfig::check_files)?;
        base::check(&mut self.bases, &self.models)?;
        let models = self.models.iter_mut().map(|model| ("model", &model.name, &mut model.path));
        let datasets = self.datasets.iter_mut().map(|dataset| ("dataset", &dataset.name, &mut dataset.path));
        let mut names = BTreeSet::new();
        let mut paths = BTreeSet::new();
        for (kind, name, path) in models.chain(datasets) {
            if name.trim().is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(format!("a {kind} needs a name of 1 to {NAME_BYTES_MAX} bytes"));
            }
            if !names.insert((kind, name.clone())) {
                return Err(format!("two {kind}s are called `{name}`; evidence could not tell them apart"));
            }
            *path = inside(path).ok_or_else(|| {
                format!("{kind} `{name}`: `{path}` must be a path below the project's directory, without `..`")
            })?;
            if !paths.insert((kind, path.clone())) {
                return Err(format!("two {kind}s have the path `{path}`"));
            }
        }
        if self.ledger.anchors.len() > ROOTS_MAX || self.ledger.anchors.iter().any(|path| path.trim().is_empty()) {
            return Err(format!("`[ledger]` takes up to {ROOTS_MAX} anchors, none of them empty"));
        }
        let roots = &self.inventory.roots;
        if roots.len() > ROOTS_MAX || roots.iter().any(|root| root.trim().is_empty()) {
            return Err(format!("`[inventory]` takes up to {ROOTS_MAX} roots, none of them empty"));
        }
        let too_many = names.len() > DECLARED_MAX;
        let bad_name =
            self.project.name.as_deref().is_some_and(|name| name.trim().is_empty() || name.len() > NAME_BYTES_MAX);
        match (too_many, bad_name) {
            (true, _) => Err(format!("more than {DECLARED_MAX} models and datasets")),
            (_, true) => Err(format!("the project's name must have 1 to {NAME_BYTES_MAX} bytes")),
            _ => Ok(()),
        }
    }
}

impl ModelConfig {
    /// Refuses files about the model that lie in it, where they would change what they are about.
    fn check_files(&mut self) -> Result<(), String> {
        let name = &self.name;
        let model = inside(&self.path).unwrap_or_default();
        for (key, file) in [("baseline", &mut self.baseline), ("attestations", &mut self.attestations)] {
            let Some(file) = file else { continue };
            let path = inside(file).filter(|path| path != ".").ok_or_else(|| {
                format!("model `{name}`: {key} `{file}` must be a file below the project's directory, without `..`")
            })?;
            if model == "." || path == model || path.strip_prefix(&model).is_some_and(|rest| rest.starts_with('/')) {
                return Err(format!(
                    "model `{name}`: {key} `{path}` lies inside the model, which would change with it; keep it outside"
                ));
            }
            *file = path;
        }
        Ok(())
    }
}

/// Longest name of a project, model or dataset, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Most roots of the inventory.
const ROOTS_MAX: usize = 100;

/// Most models and datasets one configuration declares.
const DECLARED_MAX: usize = 1000;

/// `path` in its one spelling, if it stays below the project: `./model/` is `model`, the project itself is `.`.
pub fn inside(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    match (path.is_empty(), parts.is_empty()) {
        (true, _) => None,
        (false, true) => Some(".".into()),
        (false, false) => Some(parts.join("/")),
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

    #[test]
    fn roles_of_keys_are_those_that_attestations_have() {
        let text = |role: &str| format!("[trust.roles]\n{role} = [\"a.pem\"]\n");
        for role in Role::ALL {
            assert_eq!(Config::parse(&text(role.as_str())).unwrap().trust.roles[&role], ["a.pem"]);
        }
        assert!(Config::parse(&text("trainer")).unwrap_err().contains("trainer"));
        let container =
            |kind: &str| Config::parse(&format!("[[model]]\nname = \"a\"\npath = \"a\"\ncontainer = \"{kind}\"\n"));
        assert!(container("none").is_ok() && container("signed").is_err());
    }

    #[test]
    fn a_baseline_stays_in_the_project_and_out_of_the_model() {
        let with = |path: &str, baseline: &str| {
            let one = |key: &str| {
                Config::parse(&format!("[[model]]\nname = \"a\"\npath = \"{path}\"\n{key} = \"{baseline}\"\n"))
            };
            assert_eq!(one("attestations").is_ok(), one("baseline").is_ok());
            one("baseline")
        };
        assert_eq!(with("model", "./b.json").unwrap().models[0].baseline.as_deref(), Some("b.json"));
        for (path, baseline) in [("model", "../b"), ("model", "model/b"), ("./model/", "model"), (".", "b"), ("m", ".")]
        {
            assert!(with(path, baseline).is_err(), "{path} {baseline}");
        }
    }

    #[test]
    fn a_path_has_one_spelling_and_stays_inside() {
        for (path, one) in [
            ("./model/", Some("model")),
            ("a//b", Some("a/b")),
            (".", Some(".")),
            ("", None),
            ("../x", None),
            ("/x", None),
        ] {
            assert_eq!(inside(path).as_deref(), one, "{path}");
        }
        let twice = "[[model]]\nname = \"a\"\npath = \"m\"\n[[model]]\nname = \"b\"\npath = \"./m\"\n";
        assert!(Config::parse(twice).unwrap_err().contains("path `m`"));
        assert!(Config::parse("[project]\nname = \" \"\n").is_err());
        assert!(Config::parse(&format!("[project]\nname = \"{}\"\n", "x".repeat(300))).is_err());
    }
}
