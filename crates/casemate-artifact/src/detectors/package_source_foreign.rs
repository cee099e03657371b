//! Lists of packages that install from unprotected or unknown indexes.
//!
//! MLflow and TorchServe install `conda.yaml` and `requirements.txt` before a model is loaded. A second index can serve any
//! name the first one has (dependency confusion); plain http lets anybody on the way do so.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::SettingKind;

/// See the module.
pub struct PackageSourceForeign;

static META: Meta = Meta {
    id: "package-source-foreign",
    title: "packages are installed from an unprotected or unknown place",
    description: "What is installed beside a model runs with it. Over http, or from a host whose certificate is not checked, \
                  anybody on the way chooses the packages; a second index may serve names of the first.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &["CWE-829", "CWE-319", "https://pip.pypa.io/en/stable/cli/pip_install/#cmdoption-extra-index-url"],
    remediation: "install from one index over https, with pinned versions and hashes (`--require-hashes`)",
};

impl Detector for PackageSourceForeign {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("requirements.txt", b"--extra-index-url http://packages.example/simple\n".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        let name = inspection.name().to_lowercase();
        let is_list = ["requirements", "conda", "environment", "python_env"].iter().any(|part| name.contains(part))
            && [".txt", ".yaml", ".yml", ".in"].iter().any(|end| name.ends_with(end));
        for setting in inspection.parsed.settings.iter().filter(|s| is_list && s.kind == SettingKind::PackageIndex) {
            let Some((severity, what)) = judge(&setting.path, &setting.value) else { continue };
            let mut location = inspection.at(None);
            location.line = setting.line;
            let message = format!("{} {} {what}", quote(&setting.path), quote(&setting.value));
            found.add(META.finding_at(severity, message, location));
        }
    }
}

/// Hosts that machine-learning projects install from.
const KNOWN: &[&str] = &[
    "pypi.org",
    "pypi.python.org",
    "files.pythonhosted.org",
    "download.pytorch.org",
    "pypi.nvidia.com",
    "pypi.ngc.nvidia.com",
    "storage.googleapis.com",
    "data.pyg.org",
];

fn judge(option: &str, value: &str) -> Option<(Severity, &'static str)> {
    if option == "--trusted-host" {
        return Some((Severity::High, "takes packages from a host without checking its certificate"));
    }
    let address = value.to_lowercase();
    if address.starts_with("http://") {
        return Some((Severity::High, "takes packages over a connection anybody may change"));
    }
    let host = address.strip_prefix("https://")?.split(['/', ':', '?', '#']).next().unwrap_or_default();
    (!KNOWN.contains(&host)).then_some((Severity::Medium, "takes packages from a host we do not know"))
}
