//! Which models and datasets a project has: those it declares, and those that lie about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use casemate_artifact::Verdict;
use casemate_assess::ModelStage;
use casemate_core::{Finding, Limits};
use casemate_provenance::Manifest;

use crate::config::ModelConfig;
use crate::context::{Context, Project};
use crate::exit::Failure;
use crate::scanning::{ScanSettings, ScannedFile, scan_files};
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
    /// Where the table of its approved weights lies, if it names one.
    pub baseline: Option<PathBuf>,
    /// Where its signature lies, if it names one.
    pub signature: Option<PathBuf>,
    /// What casemate.toml says of it; `None` where it was found lying about.
    pub declared: Option<ModelConfig>,
}

/// What a project's files are.
pub struct Census {
    /// The models, declared ones first.
    pub models: Vec<FoundModel>,
    /// What was not looked at, and why.
    pub skipped: Vec<Skipped>,
    /// Whether looking was interrupted.
    pub incomplete: bool,
}

/// Looks at every file of the project that no declared model covers, and counts as models those that hold one or are
/// anything but clean: neither a name nor a declaration as data hides a model.
///
/// # Errors
/// When a declared path does not exist.
pub fn census(context: &Context, project: &Project) -> Result<Census, Failure> {
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
            shown: declared.path.clone(),
            path,
            stage: declared.stage,
            baseline: declared.baseline.as_ref().map(|baseline| project.root.join(baseline)),
            signature: declared.signature.as_ref().map(|signature| project.root.join(signature)),
            declared: Some(declared.clone()),
        });
    }
    let walked = walk(".", &project.root);
    let mut skipped = walked.skipped;
    let covered =
        |shown: &str| project.config.models.iter().any(|model| model.path == "." || is_under(shown, &model.path));
    let mut environments: BTreeMap<PathBuf, (String, u64)> = BTreeMap::new();
    let mut uncovered = Vec::new();
    for (shown, path) in walked.files.into_iter().filter(|(shown, _)| !covered(shown)) {
        match environment(&project.root, &path) {
            Some(environment) => {
                let shown = environment.strip_prefix(&project.root).unwrap_or(&environment).display().to_string();
                environments.entry(environment).or_insert((shown, 0)).1 += 1;
            }
            None => uncovered.push((shown, path)),
        }
    }
    skipped.extend(environments.into_values().map(|(path, files)| Skipped {
        path,
        reason: format!("installed software, {files} files"),
        matters: false,
    }));
    let limits = Limits::default();
    let settings = ScanSettings { limits: &limits, hash: false, cache: None, known: None, weights: false };
    let scanned = scan_files(context, &uncovered, settings);
    models.extend(undeclared(project, &scanned.files));
    Ok(Census { models, skipped, incomplete: scanned.incomplete })
}

/// Models nobody declared: the topmost directories that hold one, and files at the project's top.
fn undeclared(project: &Project, files: &[ScannedFile]) -> Vec<FoundModel> {
    let mut places: BTreeMap<PathBuf, String> = BTreeMap::new();
    // What could not be read may be one as well: its directory is looked at as a model, and ends as unscannable.
    // A credential that lies about is a finding and no sign of a model.
    let is_hostile = |file: &ScannedFile| {
        let by_content =
            |finding: &Finding| finding.rule != "secret-in-text" && Verdict::of(finding) >= Verdict::Suspicious;
        file.report.verdict >= Verdict::Suspicious && file.report.findings.iter().any(by_content)
    };
    let counts = |file: &&ScannedFile| file.is_model || is_hostile(file) || file.report.format == UNREAD;
    for file in files.iter().filter(counts) {
        let Some(path) = &file.place else { continue };
        let shown = &file.report.path;
        // A model at the top is the file itself: the whole project would change with every edit.
        match (path.parent().filter(|parent| *parent != project.root), shown.rsplit_once('/')) {
            (Some(parent), Some((directory, _))) => drop(places.insert(parent.to_owned(), directory.to_owned())),
            _ => drop(places.insert(path.clone(), shown.clone())),
        }
    }
    let tops =
        places.iter().filter(|(place, _)| !places.keys().any(|other| other != *place && place.starts_with(other)));
    tops.map(|(path, shown)| FoundModel {
        name: shown.clone(),
        shown: shown.clone(),
        path: path.clone(),
        stage: None,
        baseline: None,
        signature: None,
        declared: None,
    })
    .collect()
}

/// Format of a file that could not be read at all.
pub const UNREAD: &str = "unreadable";

/// Whether `path` is `directory` or lies below it.
fn is_under(path: &str, directory: &str) -> bool {
    path == directory || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// The directory of installed software that `path` lies in, if any: its models are its packages' affair. A directory counts
/// by its name where only tools make such names, else by the mark its tool leaves in it.
fn environment(root: &Path, path: &Path) -> Option<PathBuf> {
    let above: Vec<&Path> = path.ancestors().skip(1).take_while(|above| *above != root).collect();
    let is_environment = |directory: &&&Path| {
        let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        matches!(name, "node_modules" | "site-packages" | "__pycache__")
            || directory.join("pyvenv.cfg").is_file()
            || directory.join("CACHEDIR.TAG").is_file()
    };
    above.iter().rev().find(is_environment).map(|directory| directory.to_path_buf())
}

/// Manifests of the declared datasets, by name.
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
