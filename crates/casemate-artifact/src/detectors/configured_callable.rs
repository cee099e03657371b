//! Configurations that name a callable: YAML tags of Python objects, the `_target_` of Hydra and NeMo, filters of Zarr.
//!
//! `hydra.utils.instantiate` imports and calls what `_target_` says, NeMo imports `target` (CVE-2025-23249, CVE-2025-23304); PyYAML's unsafe
//! loaders do so for `!!python/object/apply`. A project's own classes are ordinary there; commands never are.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, danger_of, is_below, quote};
use crate::{Imports, Setting, SettingKind};

/// See the module.
pub struct ConfiguredCallable;

static META: Meta = Meta {
    id: "configured-callable",
    title: "a configuration makes its reader import and call something",
    description: "Whoever instantiates the configuration, or reads the YAML with an unsafe loader, calls what it names with the \
                  arguments beside it.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &[
        "CWE-502",
        "CVE-2025-23249",
        "CVE-2025-23304",
        "https://hydra.cc/docs/advanced/instantiate_objects/overview/",
    ],
    remediation: "do not load the model; read YAML with `safe_load`, and instantiate only classes from a list of your own",
};

impl Detector for ConfiguredCallable {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("model_config.yaml", b"model:\n  _target_: os.system\n".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        if !is_configuration(inspection) {
            return;
        }
        let is_nemo = inspection.name() == "model_config.yaml";
        // `target` is an ordinary word in other configurations.
        let told = inspection.parsed.settings.iter().filter(|setting| is_nemo || setting.path != "target");
        for setting in told {
            let in_model = !inspection.member.is_empty();
            let Some((severity, what)) = judge(setting, inspection.imports, in_model) else { continue };
            let mut location = inspection.at(None);
            location.line = setting.line;
            found.add(META.finding_at(severity, format!("{} {what}", quote(&setting.path)), location));
        }
    }
}

/// Whether a tool reads the object as a configuration, rather than people as prose.
pub(super) fn is_configuration(inspection: &Inspection<'_>) -> bool {
    let name = inspection.name().to_lowercase();
    inspection.format == "json" || name == "mlmodel" || [".yaml", ".yml"].iter().any(|end| name.ends_with(end))
}

/// Libraries whose classes configurations of models name.
const LIBRARIES: &[&str] = &[
    "torch.nn",
    "torch.optim",
    "torch.utils.data",
    "torchmetrics",
    "torchvision.transforms",
    "nemo",
    "pytorch_lightning",
    "lightning",
    "transformers",
    "diffusers",
    "timm",
    "monai",
];

/// Functions that instantiate, import or load by name.
const RECURSES: &[&str] = &[
    "hydra.utils",
    "hydra._internal",
    "hydra.compose",
    "omegaconf.OmegaConf.register_new_resolver",
    "nemo.utils.model_utils",
];

/// Modules that lead out of any package that imports them: `nemo.utils.os.system`.
const EXITS: &[&str] =
    &["os", "sys", "subprocess", "builtins", "importlib", "shutil", "pickle", "socket", "ctypes", "runpy"];

fn judge(setting: &Setting, imports: &Imports, in_model: bool) -> Option<(Severity, String)> {
    let (tag, name) = match setting.kind {
        SettingKind::ObjectCodec => {
            return Some((Severity::High, "has the chunks beside it unpickled, which runs what they say".into()));
        }
        SettingKind::Target => ("", setting.value.as_str()),
        SettingKind::YamlObject => setting.value.split_once(':')?,
        _ => return None,
    };
    let shown = quote(name);
    if let Some(why) = danger(imports, name) {
        return Some((Severity::Critical, format!("calls {shown}, which {why}")));
    }
    match tag {
        "" if is_below(name, LIBRARIES) => None,
        // The configuration of a project names the project's classes, that of a packed model a library's.
        "" if in_model => Some((Severity::High, format!("calls {shown}, which is in no library we know"))),
        "" => Some((Severity::Low, format!("calls {shown}, which is in no library we know"))),
        // Documentation sites name functions so.
        "name" | "module" => Some((Severity::Medium, format!("imports {shown} while it is read"))),
        _ => Some((Severity::High, format!("calls {shown} while it is read"))),
    }
}

fn danger(imports: &Imports, dotted: &str) -> Option<String> {
    // What imports, calls or reads whatever the arguments beside it name, so that nothing else need be judged.
    if is_below(dotted, RECURSES) {
        return Some("imports or calls whatever it is told to".into());
    }
    let exits = dotted.match_indices('.').filter_map(|(at, _)| dotted.get(at + 1..));
    let exits = exits.filter(|rest| EXITS.contains(&rest.split('.').next().unwrap_or_default()));
    std::iter::once(dotted).chain(exits.take(8)).find_map(|name| danger_of(imports, name))
}
