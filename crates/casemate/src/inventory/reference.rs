//! What a project knows of models, as long as there is no registry to ask: those `casemate.toml` declares, with the files they
//! have now, and those its ledger holds a scan of.
//!
//! A content that is known makes a copy known wherever it lies. A known name over other content is an altered copy; a name that
//! half the world uses, such as `model.safetensors`, says so only together with the directory it lies in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use casemate_assess::ModelStage;
use casemate_core::{Digest, Record, SubjectKind};
use casemate_provenance::Manifest;

use crate::context::Project;
use crate::exit::Failure;
use crate::report::{Registration, RegistrationStatus};

/// File names that libraries give to every model.
const COMMON_NAMES: &[&str] = &[
    "adapter_model.bin",
    "adapter_model.safetensors",
    "checkpoint.pt",
    "data.pkl",
    "diffusion_pytorch_model.safetensors",
    "keras_metadata.pb",
    "model.bin",
    "model.h5",
    "model.joblib",
    "model.keras",
    "model.onnx",
    "model.pb",
    "model.pkl",
    "model.pt",
    "model.pth",
    "model.safetensors",
    "model.tflite",
    "optimizer.pt",
    "pytorch_model.bin",
    "saved_model.pb",
    "scheduler.pt",
    "tf_model.h5",
    "training_args.bin",
    "weights.bin",
    "weights.h5",
];

/// What is known.
#[derive(Debug, Default)]
pub struct Reference {
    files: Vec<KnownFile>,
    by_digest: BTreeMap<Digest, Vec<usize>>,
    by_name: BTreeMap<String, Vec<usize>>,
    /// Identities of models a scan is recorded of.
    recorded: BTreeSet<Digest>,
    /// What a reader has to know about what could not be compared.
    pub remarks: Vec<String>,
    /// Models declared that could not be read: copies of them cannot be told.
    pub unread: usize,
}

/// A file of a known model.
#[derive(Debug)]
pub struct KnownFile {
    /// Name of the model.
    pub model: String,
    /// Path in the project.
    pub path: String,
    /// Digest of its content now.
    pub sha256: Digest,
    /// How its model stands.
    pub standing: Standing,
}

/// How a known model stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Declared, and a scan of exactly this is recorded.
    Recorded,
    /// Declared, and no scan is recorded under its name.
    NeverScanned,
    /// A scan of other content is recorded under its name.
    Changed,
    /// Declared as quarantined or revoked.
    Quarantined,
    /// Scanned, not declared.
    Undeclared,
}

impl Reference {
    /// What `project` knows, with the records of its ledger.
    pub fn of(project: &Project, records: &[Record]) -> Self {
        let mut reference = Self::default();
        let mut scanned: BTreeMap<&str, BTreeSet<Digest>> = BTreeMap::new();
        let scans = records.iter().map(|record| &record.evidence);
        for evidence in scans.filter(|it| it.kind == "artifact.scan" && it.subject.kind == SubjectKind::Model) {
            scanned.entry(&evidence.subject.name).or_default().insert(evidence.subject.digest);
            reference.recorded.insert(evidence.subject.digest);
        }
        for declared in &project.config.models {
            let path = project.root.join(&declared.path);
            let under = scanned.remove(declared.name.as_str());
            let manifest = match Manifest::of_path(&path, &|_| ()) {
                Ok(manifest) => manifest,
                Err(error) => {
                    let what = format!("model `{}` cannot be compared: {error}", declared.name);
                    reference.remarks.push(what);
                    reference.unread += 1;
                    continue;
                }
            };
            let standing = match declared.stage {
                Some(ModelStage::Quarantined | ModelStage::Revoked) => Standing::Quarantined,
                _ if reference.recorded.contains(&manifest.digest()) => Standing::Recorded,
                _ if under.is_some() => Standing::Changed,
                _ => Standing::NeverScanned,
            };
            reference.add(&declared.name, &declared.path, &manifest, standing);
        }
        // What was only scanned goes by its path in the project.
        for (name, digests) in scanned {
            let Some(manifest) =
                inside(name).and_then(|name| Manifest::of_path(&project.root.join(name), &|_| ()).ok())
            else {
                continue;
            };
            let same = digests.contains(&manifest.digest());
            reference.add(name, name, &manifest, if same { Standing::Undeclared } else { Standing::Changed });
        }
        reference
    }

    fn add(&mut self, model: &str, root: &str, manifest: &Manifest, standing: Standing) {
        for entry in &manifest.entries {
            let path = match (root, entry.path.as_str()) {
                (root, ".") => root.to_owned(),
                (".", path) => path.to_owned(),
                (root, path) => format!("{root}/{path}"),
            };
            self.register(KnownFile { model: model.into(), path, sha256: entry.sha256, standing });
        }
    }

    /// Adds one file.
    pub fn register(&mut self, file: KnownFile) {
        let n = self.files.len();
        self.by_digest.entry(file.sha256).or_default().push(n);
        let name = file_name(&file.path);
        let mut names = BTreeSet::from([with_directory(&file.path), format!("{}/{name}", file.model)]);
        if !COMMON_NAMES.contains(&name) {
            names.insert(name.to_owned());
        }
        for name in names {
            self.by_name.entry(name).or_default().push(n);
        }
        self.files.push(file);
    }

    /// How a model of this size and digest stands, met under `names`; `whole` is the archive it lies in.
    pub fn judge(&self, model: (u64, Digest), whole: Option<(u64, Digest)>, names: &[String]) -> Registration {
        let contents = [Some(model), whole];
        let known = contents.iter().flatten().flat_map(|(_, sha256)| self.by_digest.get(sha256)).flatten();
        let known = known.filter_map(|n| self.files.get(*n));
        if let Some(worst) = known.max_by_key(|file| rank(file.standing)) {
            return worst.registration();
        }
        let is_recorded =
            |(size, sha256): &(u64, Digest)| self.recorded.contains(&Manifest::digest_of_file(*size, *sha256));
        if contents.iter().flatten().any(is_recorded) {
            let basis = "scanned in this project (ledger), declared nowhere".to_owned();
            return Registration { status: RegistrationStatus::Scanned, model: None, basis };
        }
        let keys = names.iter().flat_map(|name| [file_name(name).to_owned(), with_directory(name)]);
        let alike = keys.filter_map(|key| self.by_name.get(&key)).flatten().find_map(|n| self.files.get(*n));
        match alike {
            Some(file) => Registration {
                status: RegistrationStatus::Altered,
                model: Some(file.model.clone()),
                basis: format!("named like `{}` of model `{}`, with other content", file.path, file.model),
            },
            None => Registration {
                status: RegistrationStatus::Unregistered,
                model: None,
                basis: match self.files.is_empty() && self.recorded.is_empty() {
                    true => "no model is declared or scanned here".into(),
                    false => "neither casemate.toml nor the ledger knows its content".into(),
                },
            },
        }
    }
}

impl KnownFile {
    fn registration(&self) -> Registration {
        let (status, basis) = match self.standing {
            Standing::Recorded => (RegistrationStatus::Known, "declared in casemate.toml, scan recorded in the ledger"),
            Standing::NeverScanned => (RegistrationStatus::Known, "declared in casemate.toml, no scan recorded yet"),
            Standing::Undeclared => (RegistrationStatus::Scanned, "scanned in this project (ledger), declared nowhere"),
            Standing::Changed => (
                RegistrationStatus::Altered,
                "changed since the scan the ledger holds; `casemate check` records it anew",
            ),
            Standing::Quarantined => {
                (RegistrationStatus::Quarantined, "declared as quarantined or revoked in casemate.toml")
            }
        };
        Registration { status, model: Some(self.model.clone()), basis: basis.into() }
    }
}

/// Of several models with a file of one content, which decides: what speaks against it first, then what is known best.
fn rank(standing: Standing) -> u8 {
    match standing {
        Standing::Undeclared => 0,
        Standing::Changed => 1,
        Standing::NeverScanned => 2,
        Standing::Recorded => 3,
        Standing::Quarantined => 4,
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The name with the directory it lies in.
fn with_directory(path: &str) -> String {
    let mut parts = path.rsplit('/').filter(|part| !part.is_empty());
    match (parts.next(), parts.next()) {
        (Some(name), Some(directory)) => format!("{directory}/{name}"),
        _ => format!("./{path}"),
    }
}

/// `name` if it is a path that stays below the project.
fn inside(name: &str) -> Option<&Path> {
    let path = Path::new(name);
    path.components()
        .all(|part| matches!(part, Component::Normal(_)))
        .then_some(path)
        .filter(|path| *path != Path::new(""))
}

/// The records of the project's ledger, none where there is no ledger.
///
/// # Errors
/// When the ledger cannot be read, or does not verify.
pub fn records(project: &Project) -> Result<Vec<Record>, Failure> {
    match crate::state::State::exists(project) {
        true => crate::state::State::open_existing(project)?.records(),
        false => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use casemate_provenance::sha256;

    use super::*;

    fn reference(files: &[(&str, &str, Standing)]) -> Reference {
        let mut reference = Reference::default();
        for (model, path, standing) in files {
            let sha256 = sha256(path.as_bytes());
            reference.register(KnownFile { model: (*model).into(), path: (*path).into(), sha256, standing: *standing });
        }
        reference
    }

    fn status(reference: &Reference, content: &str, name: &str) -> RegistrationStatus {
        reference.judge((1, sha256(content.as_bytes())), None, &[name.to_owned()]).status
    }

    #[test]
    fn content_decides_before_names_and_common_names_need_their_directory() {
        let reference = reference(&[
            ("digits", "model/digits.onnx", Standing::Recorded),
            ("chat", "chat/model.safetensors", Standing::NeverScanned),
            ("old", "old/bad.pt", Standing::Quarantined),
            ("drifted", "drifted/net.pt", Standing::Changed),
        ]);
        for (content, name, expected) in [
            ("model/digits.onnx", "cache/blobs/0f3a", RegistrationStatus::Known),
            ("other", "cache/digits.onnx", RegistrationStatus::Altered),
            ("other", "cache/model.safetensors", RegistrationStatus::Unregistered),
            ("other", "cache/chat/model.safetensors", RegistrationStatus::Altered),
            ("other", "elsewhere/digits.pt", RegistrationStatus::Unregistered),
            ("old/bad.pt", "cache/good.pt", RegistrationStatus::Quarantined),
            ("drifted/net.pt", "drifted/net.pt", RegistrationStatus::Altered),
        ] {
            assert_eq!(status(&reference, content, name), expected, "{content} as {name}");
        }
        let whole = reference.judge((1, sha256(b"x")), Some((9, sha256(b"model/digits.onnx"))), &["inner.pt".into()]);
        assert_eq!(whole.status, RegistrationStatus::Known);
    }

    #[test]
    fn of_two_models_with_one_content_the_quarantined_one_decides() {
        let mut reference = reference(&[("a", "a/x.pt", Standing::Recorded)]);
        let sha256 = sha256(b"a/x.pt");
        reference.register(KnownFile {
            model: "b".into(),
            path: "b/x.pt".into(),
            sha256,
            standing: Standing::Quarantined,
        });
        assert_eq!(status(&reference, "a/x.pt", "x.pt"), RegistrationStatus::Quarantined);
    }

    #[test]
    fn a_name_in_the_ledger_is_no_way_out_of_the_project() {
        assert!(inside("models/a").is_some());
        for name in ["../a", "/a", "", "a/../../b"] {
            assert!(inside(name).is_none(), "{name}");
        }
    }
}
