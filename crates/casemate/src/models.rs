//! Which models and datasets a project has: those it declares, and those that lie about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use casemate_artifact::{Probe, Sniff, formats::FORMATS};
use casemate_assess::ModelStage;
use casemate_core::FileSource;
use casemate_provenance::Manifest;

use crate::context::Project;
use crate::exit::Failure;
use crate::walk::{Skipped, walk};

/// A model: a file or directory.
#[derive(Clone, Debug)]
pub struct FoundModel {
    /// Name.
    pub name: String,
    /// Path relative to the project, `/` between components.
    pub shown: String,
    /// Where it is.
    pub path: PathBuf,
    /// Declared stage.
    pub stage: Option<ModelStage>,
}

/// Extensions under which weights of formats without a magic number travel.
const WEAK_EXTENSIONS: &[&str] =
    &["pkl", "pickle", "pt", "pth", "ckpt", "joblib", "onnx", "h5", "keras", "pb", "tflite"];

/// Directories of installed software: their models are their packages' affair, not the project's.
const ENVIRONMENTS: &[&str] = &["node_modules", "site-packages", ".venv", "venv", "target", "__pycache__"];

/// The project's models, declared ones first.
///
/// # Errors
/// When a declared path does not exist.
pub fn models(project: &Project) -> Result<(Vec<FoundModel>, Vec<Skipped>), Failure> {
    let mut models = Vec::new();
    for declared in &project.config.models {
        let path = project.root.join(&declared.path);
        if !path.exists() {
            let message = format!(
                "model `{}`: `{}` does not exist; correct its path in casemate.toml",
                declared.name,
                path.display()
            );
            return Err(Failure::usage(message));
        }
        models.push(FoundModel {
            name: declared.name.clone(),
            shown: declared.path.trim_end_matches('/').into(),
            path,
            stage: declared.stage,
        });
    }
    let walked = walk(".", &project.root);
    // Datasets are no excuse: a model among the data is a model.
    let covered: Vec<&str> = project.config.models.iter().map(|model| model.path.trim_end_matches('/')).collect();
    let mut places: Vec<String> = Vec::new();
    for (shown, path) in &walked.files {
        let is_covered = covered.iter().any(|cover| *cover == "." || is_under(shown, cover));
        let is_installed = shown.split('/').any(|part| ENVIRONMENTS.contains(&part));
        if !is_covered && !is_installed && is_model(shown, path) {
            // A model at the top is the file itself: the whole project would change with every edit.
            places.push(shown.rsplit_once('/').map_or(shown.as_str(), |(directory, _)| directory).to_owned());
        }
    }
    places.sort();
    places.dedup();
    let tops: Vec<&String> =
        places.iter().filter(|place| !places.iter().any(|other| other != *place && is_under(place, other))).collect();
    models.extend(tops.into_iter().map(|place| FoundModel {
        name: place.clone(),
        shown: place.clone(),
        path: project.root.join(place),
        stage: None,
    }));
    Ok((models, walked.skipped))
}

fn is_under(path: &str, directory: &str) -> bool {
    path == directory || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a file is a model or part of one: by content, and for formats without a magic number by name as well.
fn is_model(shown: &str, path: &Path) -> bool {
    let extension = shown.rsplit_once('.').map(|(_, extension)| extension.to_lowercase()).unwrap_or_default();
    let by_name = WEAK_EXTENSIONS.contains(&extension.as_str());
    let Ok(source) = FileSource::open(path) else { return by_name };
    let Ok(probe) = Probe::read(&source) else { return by_name };
    let certain = FORMATS.iter().find(|format| format.sniff(&probe) == Sniff::Certain).map(|format| format.meta());
    by_name || certain.is_some_and(|meta| meta.is_model || (meta.id == "zip" && by_name))
}

/// Digests of the declared datasets, by name.
///
/// # Errors
/// When one cannot be read.
pub fn datasets(project: &Project) -> Result<BTreeMap<String, Manifest>, Failure> {
    let mut datasets = BTreeMap::new();
    for dataset in &project.config.datasets {
        let path = project.root.join(&dataset.path);
        let manifest = Manifest::of_path(&path, &|_| ())
            .map_err(|error| Failure::not_evaluated(format!("dataset `{}`: {error}", dataset.name)))?;
        datasets.insert(dataset.name.clone(), manifest);
    }
    Ok(datasets)
}
