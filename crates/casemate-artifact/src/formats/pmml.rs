//! PMML: models of statistics and trees in XML, with extensions that belong to one vendor.
//!
//! An `Extension` may hold anything, code of a script language among it, for an application that runs it. `Apply` calls
//! functions by name: those the standard lists and those the document defines by expressions are harmless, any other is
//! code the application brings along (JPMML takes a dotted name for a Java class).
//!
//! Source: PMML 4.4, dmg.org, "Built-in functions" and "General structure, extension mechanism".

use std::collections::{BTreeMap, BTreeSet};

use super::markup::Element;
use super::xml::{Beginning, Notes, Vocabulary, read};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{ActiveKind, Operator, Parsed, Probe};

/// Reads PMML documents.
pub(crate) struct Pmml;

/// A document while it is read.
#[derive(Default)]
pub(super) struct Document {
    // Depth, counted from the first of nested extensions.
    in_extension: usize,
    // Functions called, with the first place, and functions defined.
    called: BTreeMap<String, u64>,
    defined: BTreeSet<String>,
}

impl Format for Pmml {
    fn meta(&self) -> FormatMeta {
        FormatMeta { id: "pmml", title: "PMML", extensions: &["pmml", "xml"], runs_code: false, is_model: true }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        match Beginning::of(probe) {
            Beginning::Root(root) if Document::is_root(&root) => Sniff::Certain,
            _ => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        read(object)
    }
}

impl Document {
    /// Whether a document with this root is PMML.
    pub(super) fn is_root(root: &Element) -> bool {
        root.name() == "PMML"
    }
}

impl Vocabulary for Document {
    fn start(&mut self, element: &Element, notes: &mut Notes<'_>) {
        let name = element.name();
        if self.in_extension > 0 || name == "Extension" {
            self.in_extension += 1;
            let about = [element.attribute("name"), element.attribute("extender"), element.attribute("language")];
            let language = about.iter().find(|word| is_language(word));
            let code = element.attributes().iter().find(|(_, value)| is_script(value));
            match (language, code) {
                (_, Some((_, value))) => notes.active(ActiveKind::Script, name, value, element.at),
                (Some(word), None) => notes.active(ActiveKind::Script, name, word, element.at),
                (None, None) => {}
            }
        }
        match name {
            _ if name.eq_ignore_ascii_case("script") => notes.active(ActiveKind::Script, name, "", element.at),
            "DefineFunction" => {
                let name = element.attribute("name");
                if notes.admit(name.len(), element.at) {
                    self.defined.insert(name.into());
                }
            }
            "Apply" => {
                let function = element.attribute("function");
                if !BUILT_IN.contains(&function)
                    && !self.called.contains_key(function)
                    && notes.admit(function.len(), element.at)
                {
                    self.called.insert(function.chars().take(1024).collect(), element.at);
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str, at: u64, notes: &mut Notes<'_>) {
        if self.in_extension > 0 && is_script(text) {
            notes.active(ActiveKind::Script, "Extension", text.trim(), at);
        }
    }

    fn end(&mut self) {
        self.in_extension = self.in_extension.saturating_sub(1);
    }

    fn finish(&mut self, notes: &mut Notes<'_>) {
        let called = std::mem::take(&mut self.called).into_keys();
        let foreign = called.filter(|name| !self.defined.contains(name));
        notes.parsed.operators = foreign.map(|name| Operator { domain: "pmml.function".into(), name }).collect();
    }
}

/// Whether a word is the name of a script language, or of scripts as such.
fn is_language(word: &str) -> bool {
    const LANGUAGES: &[&str] = &[
        "script",
        "javascript",
        "jscript",
        "ecmascript",
        "groovy",
        "python",
        "jython",
        "vbscript",
        "ruby",
        "perl",
        "shell",
        "bash",
        "powershell",
        "code",
        "exec",
        "eval",
    ];
    let word = word.trim().to_ascii_lowercase();
    LANGUAGES.contains(&word.as_str()) || word.strip_prefix("x-").is_some_and(|word| LANGUAGES.contains(&word))
}

/// Whether a text has the marks of code; vendors write settings, counts and times into extensions.
fn is_script(text: &str) -> bool {
    const MARKS: &[&str] = &[
        "<script",
        "javascript:",
        "eval(",
        "exec(",
        "function(",
        "function (",
        "import os",
        "import subprocess",
        "__import__",
        "os.system",
        "subprocess.",
        "getruntime",
        "processbuilder",
        "java.lang.",
        "javax.script",
        "activexobject",
        "wscript.shell",
        "powershell",
        "cmd.exe",
        "/bin/sh",
        "/bin/bash",
        "#!/",
        "system(",
        "require(",
    ];
    let text = text.to_ascii_lowercase();
    MARKS.iter().any(|mark| text.contains(mark))
}

/// Functions of the standard.
const BUILT_IN: &[&str] = &[
    "+",
    "-",
    "*",
    "/",
    "min",
    "max",
    "sum",
    "avg",
    "median",
    "product",
    "log10",
    "ln",
    "sqrt",
    "abs",
    "exp",
    "pow",
    "threshold",
    "floor",
    "ceil",
    "round",
    "modulo",
    "isMissing",
    "isNotMissing",
    "isValid",
    "isNotValid",
    "equal",
    "notEqual",
    "lessThan",
    "lessOrEqual",
    "greaterThan",
    "greaterOrEqual",
    "isIn",
    "isNotIn",
    "and",
    "or",
    "not",
    "if",
    "uppercase",
    "lowercase",
    "stringLength",
    "substring",
    "trimBlanks",
    "concat",
    "replace",
    "matches",
    "formatNumber",
    "formatDatetime",
    "dateDaysSinceYear",
    "dateSecondsSinceYear",
    "dateSecondsSinceMidnight",
    "normalCDF",
    "normalPDF",
    "stdNormalCDF",
    "stdNormalPDF",
    "erf",
    "normalIDF",
    "stdNormalIDF",
    "expm1",
    "hypot",
    "ln1p",
    "rint",
    "sin",
    "asin",
    "sinh",
    "cos",
    "acos",
    "cosh",
    "tan",
    "atan",
    "tanh",
];

#[cfg(test)]
mod tests;
