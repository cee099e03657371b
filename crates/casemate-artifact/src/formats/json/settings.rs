//! Which values of a configuration choose code: known by their keys, whatever the file is called.
//!
//! Loaders of hub repositories import what these name: transformers (`auto_map`, `custom_pipelines`, `custom_generate`),
//! sentence-transformers (`modules.json`), PEFT (`auto_mapping`), MLflow, Hydra, TorchServe (CVE-2023-48299), skops
//! (CVE-2025-54412, CVE-2025-54413). Whether a name is trusted is left to the detectors.

use super::walk::Step;
use crate::formats::reading::is_dotted_name;
use crate::{ReferenceKind, SettingKind};

/// What a loader does with the value at `path`, where it chooses code.
pub(super) fn kind_of(path: &[Step], value: &str) -> Option<SettingKind> {
    let Some(Step::Key(last)) = path.iter().rev().find(|step| matches!(step, Step::Key(_))) else { return None };
    let under = |wanted: &str| path.iter().any(|step| matches!(step, Step::Key(key) if key == wanted));
    match last.as_str() {
        "custom_generate" if value.contains('/') || is_dotted_name(value) => Some(SettingKind::CustomGenerate),
        "trust_remote_code" if value.eq_ignore_ascii_case("true") => Some(SettingKind::TrustRemoteCode),
        "impl" if under("custom_pipelines") => Some(SettingKind::CustomPipeline),
        "parent_library" if under("auto_mapping") => Some(SettingKind::ParentLibrary),
        "loader_module" if is_dotted_name(value) => Some(SettingKind::LoaderModule),
        "handler" if matches!(path, [Step::Key(top), Step::Key(_)] if top == "model") => Some(SettingKind::Handler),
        "_target_" => Some(SettingKind::Target),
        // The list of modules is the whole file: `[{"idx": 0, "type": "sentence_transformers.models.Transformer"}]`.
        "type" if matches!(path, [Step::Index(_), Step::Key(_)]) && value.contains('.') && is_dotted_name(value) => {
            Some(SettingKind::PipelineModule)
        }
        "id" | "name" if is_unpickled(path, value) => Some(SettingKind::ObjectCodec),
        _ if under("auto_map") && value.contains('.') => Some(SettingKind::AutoMap),
        _ => None,
    }
}

/// Whether the value at `path` is the filter or codec of a Zarr array that unpickles its chunks.
fn is_unpickled(path: &[Step], value: &str) -> bool {
    let [.., Step::Key(list), Step::Index(_), Step::Key(_)] = path else { return false };
    matches!((list.as_str(), value), ("filters", "pickle") | ("codecs", "numcodecs.pickle"))
}

/// What a loader does with the file named at `path`, where it opens one.
pub(super) fn reference_of(path: &[Step]) -> Option<ReferenceKind> {
    match path {
        [.., Step::Key(map), Step::Key(_)] if map == "weight_map" => Some(ReferenceKind::ExternalData),
        // TensorFlow.js fetches these, beside `model.json` or wherever they lead.
        [Step::Key(manifest), Step::Index(_), Step::Key(paths), Step::Index(_)]
            if manifest == "weightsManifest" && paths == "paths" =>
        {
            Some(ReferenceKind::ExternalData)
        }
        [Step::Key(top), Step::Key(key)] if top == "model" => match key.as_str() {
            "handler" => Some(ReferenceKind::Code),
            "serializedFile" | "modelFile" | "extraFiles" | "requirementsFile" => Some(ReferenceKind::ExternalData),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the value at `path` is the operator of a node in a graph of TensorFlow.js.
pub(super) fn is_operator(path: &[Step]) -> bool {
    let [Step::Key(top), rest @ .., Step::Key(op)] = path else { return false };
    let nodes = match rest {
        [Step::Key(nodes), Step::Index(_)] => nodes == "node",
        [Step::Key(library), Step::Key(functions), Step::Index(_), Step::Key(nodes), Step::Index(_)] => {
            library == "library" && functions == "function" && nodes == "nodeDef"
        }
        _ => false,
    };
    nodes && top == "modelTopology" && op == "op"
}

/// The words by which skops rebuilds one object.
#[derive(Default)]
pub(super) struct Node {
    loader: Option<String>,
    module: String,
    name: String,
}

impl Node {
    /// Notes one member of the object.
    pub(super) fn note(&mut self, key: &str, value: &str) {
        match key {
            "__loader__" => self.loader = Some(value.into()),
            "__module__" => self.module = value.into(),
            "__class__" => self.name = value.into(),
            _ => {}
        }
    }

    /// `loader module.name`, where the object names a loader.
    pub(super) fn words(self) -> Option<String> {
        Some(format!("{} {}.{}", self.loader?, self.module, self.name))
    }
}
