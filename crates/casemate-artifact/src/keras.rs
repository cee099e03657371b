//! What a Keras configuration may name: default deny, the names kept as data in `catalogue/rules/keras.toml`.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::policy;

/// The names Keras itself exports, and those of them that run foreign code.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Names {
    #[serde(rename = "version")]
    _version: String,
    companions: HashSet<String>,
    op_namespaces: HashSet<String>,
    ops: HashSet<String>,
    unsafe_classes: BTreeMap<String, String>,
    unsafe_functions: BTreeMap<String, String>,
    lists: Lists,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists {
    modules: HashSet<String>,
    classes: HashSet<String>,
    functions: HashSet<String>,
}

static BUILT_IN: LazyLock<Names> = LazyLock::new(|| {
    let text = policy::FILES.iter().find(|(file, _)| *file == policy::KERAS).map_or("", |(_, text)| text);
    // The file is part of the program: a test reads it, so this cannot fail in a release; without it nothing is allowed.
    toml::from_str(text).unwrap_or_default()
});

impl Names {
    /// The built-in names, read on first use.
    pub(crate) fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Why a class runs foreign code, if it does.
    pub(crate) fn unsafe_class(&self, name: &str) -> Option<&str> {
        self.unsafe_classes.get(name).map(String::as_str)
    }

    /// Why a function reaches out of the model, if it does; dotted names by their last part.
    pub(crate) fn unsafe_function(&self, name: &str) -> Option<&str> {
        self.unsafe_functions.get(name.rsplit(['.', '>']).next().unwrap_or(name)).map(String::as_str)
    }

    /// Whether Keras has a class of this name there.
    pub(crate) fn has_class(&self, module: Option<&str>, name: &str) -> bool {
        self.has_module(module) && self.lists.classes.contains(name)
    }

    /// Whether Keras has a function of this name there; those it looks up by name alone say `builtins`.
    pub(crate) fn has_function(&self, module: Option<&str>, name: &str) -> bool {
        (module == Some("builtins") || self.has_module(module)) && self.lists.functions.contains(name)
    }

    fn has_module(&self, module: Option<&str>) -> bool {
        module.is_none_or(|module| self.lists.modules.contains(module.trim_start_matches("tensorflow.python.")))
    }

    /// Whether a class belongs to a package Keras imports by itself.
    pub(crate) fn is_companion(&self, module: &str) -> bool {
        module.split_once('.').is_some_and(|(package, _)| self.companions.contains(package))
    }

    /// Whether a function of TensorFlow, named as a `TFOpLambda` names it, only computes.
    pub(crate) fn is_op(&self, name: &str) -> bool {
        let namespace = name.rsplit_once('.').map(|(namespace, _)| namespace);
        self.ops.contains(name) || namespace.is_some_and(|namespace| self.op_namespaces.contains(namespace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_names_are_read() {
        let names = Names::built_in();
        assert!(names.has_class(Some("keras.layers"), "Dense") && names.has_class(None, "Functional"));
        assert!(names.has_function(Some("builtins"), "relu") && names.is_op("math.add") && names.is_op("reshape"));
        assert!(
            !names.has_class(Some("os"), "Dense") && !names.has_class(None, "Lambda") && !names.is_op("io.write_file")
        );
        assert!(names.lists.functions.iter().all(|name| names.unsafe_function(name).is_none()));
        assert!(names.lists.classes.iter().all(|name| names.unsafe_class(name).is_none()));
    }
}
