//! Python path files that run code: a line of a `.pth` that begins with `import` is executed at every start of Python.
//!
//! The extension is also PyTorch's, so such a file travels with weights unnoticed. Source: the `site` module of CPython.

use casemate_core::{Confidence, Meta, Severity};

use super::{Detector, Findings, Inspection, quote};
use crate::SettingKind;

/// See the module.
pub struct PythonSiteHook;

static META: Meta = Meta {
    id: "python-site-hook",
    title: "a path file runs code at every start of Python",
    description: "Python executes the `import` lines of `.pth` files in its package directories. Text under the extension of \
                  PyTorch weights is no model, but code that only waits to be copied there.",
    severity: Severity::Critical,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &["https://docs.python.org/3/library/site.html", "CWE-506"],
    remediation: "delete the file, and look for copies of it under every `site-packages`",
};

impl Detector for PythonSiteHook {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        ("model.pth", b"import os; os.system('true')\n".to_vec())
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        if !inspection.name().to_lowercase().ends_with(".pth") {
            return;
        }
        for setting in inspection.parsed.settings.iter().filter(|setting| setting.kind == SettingKind::SiteHook) {
            let mut location = inspection.at(None);
            location.line = setting.line;
            found.add(META.finding(format!("runs {} at every start of Python", quote(&setting.value)), location));
        }
    }
}
