//! XML that makes its reader open files, fill its memory, or run something: entities, inclusions, instructions, scripts.
//!
//! PMML and OpenVINO networks are read by parsers of XML on servers; few of them refuse a document type by default.

use casemate_core::{Confidence, Meta, Severity};

use super::path_escape::escape;
use super::{Detector, Findings, Inspection, quote};
use crate::{Active, ActiveKind};

/// See the module.
pub struct XmlActiveContent;

static META: Meta = Meta {
    id: "xml-active-content",
    title: "the document makes its reader open files, fill its memory or run something",
    description: "An XML parser that follows the document type reads any file or address it names and puts the text into the \
                  model, or replaces a few bytes by gigabytes; scripts and stylesheets run in the application that shows them.",
    severity: Severity::High,
    confidence: Confidence::High,
    controls: &["SUP-01"],
    references: &[
        "CWE-611",
        "CWE-776",
        "https://owasp.org/www-community/vulnerabilities/XML_External_Entity_(XXE)_Processing",
    ],
    remediation: "remove the document type and the extension: exporters write neither; read XML with entities switched off",
};

/// Bytes of expanded texts from which expat calls it an attack.
const EXPANDED_BYTES_MAX: u64 = 8 << 20;

/// Publishers of the document types of public vocabularies; parsers ship them.
const PUBLIC_TYPES: &[&str] = &[
    "http://www.w3.org/",
    "https://www.w3.org/",
    "http://www.apple.com/DTDs/",
    "https://www.apple.com/DTDs/",
    "http://www.dmg.org/",
    "http://www.oasis-open.org/",
    "http://www.freedesktop.org/",
    "about:legacy-compat",
];

impl Detector for XmlActiveContent {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn planted(&self) -> (&'static str, Vec<u8>) {
        (
            "x.pmml",
            b"<?xml version=\"1.0\"?><!DOCTYPE PMML [<!ENTITY x SYSTEM \"file:///dev/null\">]><PMML>&x;</PMML>"
                .to_vec(),
        )
    }

    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings) {
        let is_model = matches!(inspection.format, "openvino" | "pmml");
        for active in &inspection.parsed.active {
            if let Some((severity, message)) = judge(active, is_model) {
                found.add(META.finding_at(severity, message, inspection.at(active.offset)));
            }
        }
    }
}

fn judge(active: &Active, is_model: bool) -> Option<(Severity, String)> {
    let (name, target) = (quote(&active.name), quote(&active.target));
    // No exporter of models writes any of it; elsewhere the harmless kinds are ordinary.
    let ordinary = if is_model { Severity::High } else { Severity::Low };
    let beside = if is_model { Severity::High } else { Severity::Medium };
    let leads_out = |severity| match escape(&active.target) {
        Some(how) => (severity, format!("{target}, which {how}")),
        None => (beside, target.clone()),
    };
    Some(match active.kind {
        ActiveKind::ExternalEntity if active.target.is_empty() => {
            (Severity::High, format!("entity {name} declares further entities out of sight"))
        }
        ActiveKind::ExternalEntity => {
            let (severity, what) = leads_out(Severity::Critical);
            (severity, format!("entity {name} is read from {what}"))
        }
        ActiveKind::ExternalSubset if PUBLIC_TYPES.iter().any(|known| active.target.starts_with(known)) => return None,
        ActiveKind::ExternalSubset => match escape(&active.target) {
            Some(how) => (Severity::High, format!("the document type is read from {target}, which {how}")),
            None => (ordinary, format!("the document type is read from {target}")),
        },
        ActiveKind::Include => {
            // Parsers follow it only when they are told to.
            let (severity, what) = leads_out(Severity::High);
            (severity, format!("an inclusion is read from {what}"))
        }
        ActiveKind::Expansion { bytes: u64::MAX, .. } => {
            (Severity::High, format!("entity {name} or one beside it contains itself"))
        }
        ActiveKind::Expansion { bytes, .. } if bytes > EXPANDED_BYTES_MAX => {
            (Severity::High, format!("entities expand to {bytes} bytes"))
        }
        ActiveKind::Expansion { nested: true, bytes } => {
            (ordinary, format!("entities contain each other, {bytes} bytes in all"))
        }
        ActiveKind::Expansion { nested: false, .. } => {
            (ordinary, format!("entity {name} and those beside it stand for texts of the document"))
        }
        ActiveKind::Instruction => match active.name.as_str() {
            "xml-stylesheet" if escape(&active.target_of("href")).is_some() || active.target.contains("xsl") => (
                if is_model { Severity::High } else { Severity::Medium },
                format!("is shown through a stylesheet: {target}"),
            ),
            "php" => (Severity::High, format!("holds PHP: {target}")),
            _ => (ordinary, format!("holds the instruction {name}: {target}")),
        },
        ActiveKind::Script => (Severity::High, format!("{name} holds a script: {target}")),
    })
}

impl Active {
    /// The value of a pseudo-attribute of an instruction.
    fn target_of(&self, key: &str) -> String {
        let value = self.target.split_once(key).map_or("", |(_, rest)| rest.trim_start_matches([' ', '=']));
        value.trim_start_matches(['"', '\'']).split(['"', '\'']).next().unwrap_or_default().into()
    }
}
