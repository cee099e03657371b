//! Configurations that make a loader import Python that comes with the model, or from another repository.
//!
//! The weights may be safetensors: with `auto_map` and its kin the code beside them runs all the same. transformers
//! (`auto_map`, `custom_pipelines`, `custom_generate`, `trust_remote_code`), sentence-transformers (`modules.json`), PEFT
//! (`auto_mapping`), MLflow (`loader_module`), TorchServe (`handler`, CVE-2023-48299).

use casemate_core::{Confidence, Meta, Severity};

use super::configured_callable::is_configuration;
use super::{Detector, Findings, Inspection, danger_of, is_below, quote};
use crate::{Imports, Setting, SettingKind};

/// See the module.
pub struct RemoteCodeReference;

static META: Meta = Meta {
    id: "remote-code-reference",
    title: "a configuration makes the loader run code that comes with the model",
    description: "Whoever loads the model with remote code allowed runs Python written by its publisher, or by whoever owns \
                  the repository it names, now or later; the format of the weights does not matter.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-01", "SUP-02"],
    references: &["https://huggingface.co/docs/transformers/custom_models", "CWE-829", "CVE-2023-48299"],
    remediation: "load without `trust_remote_code`, with the architecture of the library; else review the code, and pin its revision",
};

impl Detector for RemoteCodeReference {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("config.json", br#"{"auto_map": {"AutoModel": "modeling_x.Model"}}"#.to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        if !is_configuration(inspection) {
            return;
        }
        for setting in &inspection.parsed.settings {
            let Some((severity, what)) = judge(setting, inspection.imports) else { continue };
            let mut location = inspection.at(None);
            location.line = setting.line;
            found.add(META.finding_at(severity, format!("{} {what}", quote(&setting.path)), location));
        }
    }
}

/// What a setting makes the loader run, where it is not the library's own.
fn judge(setting: &Setting, imports: &Imports) -> Option<(Severity, String)> {
    let value = setting.value.as_str();
    let shown = quote(value);
    let what = match setting.kind {
        SettingKind::AutoMap | SettingKind::CustomPipeline => match value.split_once("--") {
            Some((repository, _)) => format!("runs {shown}, code of another repository {}", quote(repository)),
            None => format!("runs {shown} from the repository"),
        },
        // YAML is what people configure their own runs with.
        SettingKind::TrustRemoteCode if setting.line.is_some() => {
            return Some((Severity::Medium, "allows the code of whatever repository is loaded".into()));
        }
        SettingKind::TrustRemoteCode => "allows the code of whatever repository is loaded".into(),
        SettingKind::CustomGenerate => format!("fetches and runs the code of {shown}"),
        SettingKind::PipelineModule => return import(value, &["sentence_transformers", "transformers"], imports),
        SettingKind::ParentLibrary => return import(value, LIBRARIES, imports),
        SettingKind::LoaderModule => return import(value, &["mlflow"], imports),
        SettingKind::Handler if value.contains(['\n', ';', '(']) => format!("is code itself: {shown}"),
        _ => return None,
    };
    Some((Severity::High, what))
}

/// Libraries whose classes PEFT takes as base models.
const LIBRARIES: &[&str] =
    &["transformers", "diffusers", "sentence_transformers", "peft", "timm", "torch.nn", "__main__"];

fn import(name: &str, trusted: &[&str], imports: &Imports) -> Option<(Severity, String)> {
    let shown = quote(name);
    if let Some(why) = danger_of(imports, name).or_else(|| danger_of(imports, &format!("{name}.x"))) {
        return Some((Severity::Critical, format!("imports {shown}, which {why}")));
    }
    (!is_below(name, trusted)).then(|| (Severity::High, format!("imports {shown}, which is not the library's own")))
}
