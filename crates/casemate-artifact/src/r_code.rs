//! Which functions of R matter when data calls them: the names are kept as data in `catalogue/rules/r.toml`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::LazyLock;

use casemate_core::Severity;
use serde::Deserialize;

use crate::policy;

/// Domain of a function that code in the data calls.
pub(crate) const CALL: &str = "r.call";
/// Domain of a name among the constants of bytecode.
pub(crate) const CONSTANT: &str = "r.constant";
/// Domain of a name handed to a call.
pub(crate) const NAME: &str = "r.name";
/// Domain of a native routine called by a name in the data.
pub(crate) const NATIVE: &str = "r.native";
/// Domain of the call in a promise nobody has evaluated yet.
pub(crate) const PROMISE: &str = "r.promise";
/// Domain of a function R calls by itself.
pub(crate) const HOOK: &str = "r.hook";

/// What may be said of names. Without rules promises are still told, and a test reads the rules.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Names {
    #[serde(rename = "version")]
    _version: String,
    hooks: BTreeSet<String>,
    calls_its_arguments: HashSet<String>,
    selects: HashSet<String>,
    native: HashSet<String>,
    words: HashSet<String>,
    danger: Vec<Danger>,
    pub(crate) together: Vec<Together>,
    #[serde(skip)]
    by_name: BTreeMap<String, usize>,
    #[serde(skip)]
    parts: BTreeSet<String>,
}

/// Names that are dangerous by themselves.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Danger {
    severity: Severity,
    why: String,
    names: Vec<String>,
}

/// Names that are dangerous when one of each list is there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Together {
    pub(crate) severity: Severity,
    pub(crate) why: String,
    pub(crate) all: Vec<BTreeSet<String>>,
}

/// What a function does with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Nothing that matters here.
    Plain,
    /// Calls them, or gives out what they name.
    Called,
    /// Calls native code by the first.
    Native,
}

static BUILT_IN: LazyLock<Names> = LazyLock::new(|| {
    let text = policy::FILES.iter().find(|(file, _)| *file == policy::R).map_or("", |(_, text)| text);
    // The file is part of the program: a test reads it, so this cannot fail in a release.
    let mut names: Names = toml::from_str(text).unwrap_or_default();
    let each = names.danger.iter().enumerate();
    names.by_name = each.flat_map(|(n, danger)| danger.names.iter().map(move |name| (name.clone(), n))).collect();
    names.parts = names.together.iter().flat_map(|together| together.all.iter().flatten().cloned()).collect();
    names
});

impl Names {
    /// The built-in names, read on first use.
    pub(crate) fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// The name as it stands in the rules, where they speak of it.
    pub(crate) fn notable(&self, name: &[u8]) -> Option<&str> {
        let name = std::str::from_utf8(name).ok()?;
        let danger = self.by_name.get_key_value(name).map(|(name, _)| name);
        let known = danger.or_else(|| self.parts.get(name)).or_else(|| self.hooks.get(name));
        let acts =
            || [&self.calls_its_arguments, &self.selects, &self.native].into_iter().find_map(|set| set.get(name));
        known.or_else(acts).map(String::as_str)
    }

    /// Why a name is dangerous by itself.
    pub(crate) fn danger(&self, name: &str) -> Option<(Severity, &str)> {
        let danger = self.danger.get(*self.by_name.get(name)?)?;
        Some((danger.severity, &danger.why))
    }

    /// Whether a dangerous name is an ordinary word for a variable, too.
    pub(crate) fn is_word(&self, name: &str) -> bool {
        self.words.contains(name)
    }

    /// Whether R calls a function of this name by itself.
    pub(crate) fn is_hook(&self, name: &str) -> bool {
        self.hooks.contains(name)
    }

    /// What the function of a call does with its arguments; `in_head` where the call gives the function of another one.
    pub(crate) fn arguments(&self, function: &str, in_head: bool) -> Use {
        match function {
            _ if self.calls_its_arguments.contains(function) => Use::Called,
            _ if in_head && self.selects.contains(function) => Use::Called,
            _ if self.native.contains(function) => Use::Native,
            _ => Use::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_names_are_read() {
        let names = Names::built_in();
        assert_eq!(names.danger("system").map(|(severity, _)| severity), Some(Severity::High));
        assert_eq!((names.danger("log"), names.notable(b"log"), names.notable(b"\xff")), (None, None, None));
        assert_eq!(names.notable(b"parse"), Some("parse"));
        assert_eq!(names.arguments("::", false), Use::Called);
        assert_eq!((names.arguments("$", false), names.arguments("$", true)), (Use::Plain, Use::Called));
        assert_eq!(names.arguments(".Call", false), Use::Native);
        assert!(names.is_hook(".First") && names.words.iter().all(|word| names.danger(word).is_some()));
    }
}
