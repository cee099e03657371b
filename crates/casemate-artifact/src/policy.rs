//! Which imports a pickle may use, and how: default deny, with exact allow-list profiles kept as data.
//!
//! An entry allows one `(module, qualified name)` for stated uses, where the note says so only with certain arguments. What
//! is installed on the machine plays no part. The danger list decides words and severity, never what is allowed.
//! Data: `catalogue/rules/imports/*.toml`.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use serde::Deserialize;

use crate::pickle::{Global, How, Operand, python3_name};

/// The rule files built in, by name.
pub const FILES: &[(&str, &str)] = &[
    ("imports/stdlib-data.toml", include_str!("../../../catalogue/rules/imports/stdlib-data.toml")),
    ("imports/numpy.toml", include_str!("../../../catalogue/rules/imports/numpy.toml")),
    ("imports/scikit-learn.toml", include_str!("../../../catalogue/rules/imports/scikit-learn.toml")),
    ("imports/scipy.toml", include_str!("../../../catalogue/rules/imports/scipy.toml")),
    ("imports/pandas.toml", include_str!("../../../catalogue/rules/imports/pandas.toml")),
    ("imports/boosters.toml", include_str!("../../../catalogue/rules/imports/boosters.toml")),
    ("imports/training.toml", include_str!("../../../catalogue/rules/imports/training.toml")),
    ("imports/joblib.toml", include_str!("../../../catalogue/rules/imports/joblib.toml")),
    ("imports/torch-weights-only.toml", include_str!("../../../catalogue/rules/imports/torch-weights-only.toml")),
    ("imports/torchscript.toml", include_str!("../../../catalogue/rules/imports/torchscript.toml")),
    (DANGER, include_str!("../../../catalogue/rules/imports/danger.toml")),
    crate::detectors::tensorflow_unsafe_operator::FILE,
    (KERAS, include_str!("../../../catalogue/rules/keras.toml")),
    (R, include_str!("../../../catalogue/rules/r.toml")),
];

/// What Keras configurations may name; read by the detector that judges them.
pub(crate) const KERAS: &str = "keras.toml";

/// What code in R data may call; read by its parser and the detector that judges it.
pub(crate) const R: &str = "r.toml";

const DANGER: &str = "imports/danger.toml";

/// The compiled import policy.
#[derive(Debug, Default)]
pub struct Imports {
    allowed: HashMap<(String, String), Vec<Allowance>>,
    namespaces: Vec<(String, Allowance)>,
    danger_modules: HashMap<String, String>,
    danger_names: HashMap<(String, String), String>,
}

#[derive(Clone, Debug)]
struct Allowance {
    uses: HashSet<Use>,
    arguments: Option<Arguments>,
}

/// How an import is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Imported and passed along.
    Import,
    /// Called.
    Call,
    /// Instantiated through `__new__`.
    New,
    /// What it returns has its state set.
    Build,
    /// What it returns has items set, appended or added.
    Items,
}

/// Conditions on the arguments of an allowed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Arguments {
    /// `getattr(listed, 'plain')`, where the dotted name is listed too (it is judged as an import of its own).
    ListedAttribute,
    /// The first argument is a class: whatever is imported among the arguments may be handed on, and the first is no
    /// result of a call, whose `__new__` would be looked up on the instance.
    ListedClass,
    /// What may be called later: every import among the arguments may be handed on, results are of listed calls.
    ListedFactory,
    /// `encode(text, 'latin1')`.
    TextLatin1,
    /// Bytes only; they are judged as an object of their own.
    NestedBytes,
    /// Texts without dots and double underscores, or integers.
    PlainNames,
    /// None at all. A class listed so is made empty, in place: its constructor may do more than hold data.
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileFile {
    #[serde(rename = "profile")]
    _profile: String,
    #[serde(rename = "version")]
    _version: String,
    #[serde(rename = "source")]
    _source: String,
    allow: Vec<AllowEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowEntry {
    /// Module of `names`.
    #[serde(default)]
    module: String,
    #[serde(default)]
    names: Vec<String>,
    /// In place of both: every plain name in this module and below it.
    namespace: Option<String>,
    #[serde(rename = "use")]
    uses: Vec<Use>,
    arguments: Option<Arguments>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DangerFile {
    #[serde(rename = "version")]
    _version: String,
    danger: Vec<DangerEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DangerEntry {
    why: String,
    #[serde(default)]
    modules: Vec<String>,
    module: Option<String>,
    #[serde(default)]
    names: Vec<String>,
}

/// Why a rule file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("rule file `{file}`: {message}")]
pub struct PolicyError {
    file: String,
    message: String,
}

static BUILT_IN: LazyLock<Imports> = LazyLock::new(|| {
    // The files are part of the program: a test compiles them, so this cannot fail in a release.
    Imports::compile(FILES).unwrap_or_default()
});

impl Imports {
    /// The built-in policy, compiled on first use.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Compiles rule files given as `(name, text)`.
    ///
    /// # Errors
    /// [`PolicyError`] names the first file that does not fit the schema.
    pub fn compile(files: &[(&str, &str)]) -> Result<Self, PolicyError> {
        let mut imports = Self::default();
        // The others are no rules of imports.
        let others = [crate::detectors::tensorflow_unsafe_operator::FILE.0, KERAS, R];
        for (file, text) in files.iter().filter(|(file, _)| !others.contains(file)) {
            let fail = |error: toml::de::Error| PolicyError { file: (*file).into(), message: error.message().into() };
            match *file == DANGER {
                true => imports.add_danger(toml::from_str(text).map_err(fail)?),
                false => imports.add_profile(toml::from_str(text).map_err(fail)?),
            }
        }
        Ok(imports)
    }

    fn add_profile(&mut self, file: ProfileFile) {
        for entry in file.allow {
            let allowance = Allowance { uses: entry.uses.iter().copied().collect(), arguments: entry.arguments };
            self.namespaces.extend(entry.namespace.map(|namespace| (namespace, allowance.clone())));
            for name in entry.names {
                let allowance = allowance.clone();
                self.allowed.entry((entry.module.clone(), name)).or_default().push(allowance);
            }
        }
    }

    fn add_danger(&mut self, file: DangerFile) {
        for entry in file.danger {
            self.danger_modules.extend(entry.modules.into_iter().map(|module| (module, entry.why.clone())));
            let module = entry.module.unwrap_or_default();
            self.danger_names.extend(entry.names.into_iter().map(|name| ((module.clone(), name), entry.why.clone())));
        }
    }

    /// Why importing this is dangerous, if it is known to be; Python 2 names are judged as written and as mapped.
    pub fn danger(&self, global: &Global) -> Option<&str> {
        if !global.known || self.allows_import(global) {
            return None;
        }
        let mapped = python3_name(&global.module, &global.name);
        let written = (global.module.clone(), global.name.clone());
        [written, mapped].into_iter().find_map(|(module, name)| self.danger_of(&module, &name))
    }

    fn danger_of(&self, module: &str, name: &str) -> Option<&str> {
        // `logging` + `os.system` and `torch` + `hub.load` reach as far as their longest dotted path.
        let dotted = format!("{module}.{name}");
        let mut prefix = dotted.as_str();
        loop {
            if let Some(why) = self.danger_modules.get(prefix) {
                return Some(why);
            }
            let Some((shorter, _)) = prefix.rsplit_once('.') else { break };
            prefix = shorter;
        }
        if let Some(why) = self.danger_names.get(&(module.to_owned(), name.to_owned())) {
            return Some(why);
        }
        // A module reached as an attribute of another: `collections` + `_sys.modules.get`.
        let mut parts = name.split('.').rev().skip(1);
        parts.find_map(|part| self.danger_modules.get(part.trim_start_matches('_'))).map(String::as_str)
    }

    fn entries(&self, global: &Global) -> &[Allowance] {
        let (module, name) = match global.python2 {
            true => python3_name(&global.module, &global.name),
            false => (global.module.clone(), global.name.clone()),
        };
        if !global.known {
            return &[];
        }
        let in_namespace = |(namespace, _): &&(String, Allowance)| {
            let below = module.strip_prefix(namespace.as_str());
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) && !name.contains('.')
        };
        match self.namespaces.iter().find(in_namespace) {
            Some((_, allowance)) => std::slice::from_ref(allowance),
            None => self.allowed.get(&(module, name)).map_or(&[], Vec::as_slice),
        }
    }

    /// Whether some profile lists it for any use.
    pub fn allows_import(&self, global: &Global) -> bool {
        !self.entries(global).is_empty()
    }

    /// Whether it may be handed on as a value to whatever may call it: classes that only hold data, and what a profile
    /// lists for import. `getattr` or a loader of nested pickles may be called in place with arguments we see, no more;
    /// nor may a class whose arguments matter.
    pub fn allows_pass(&self, global: &Global) -> bool {
        let passes = |entry: &Allowance| {
            entry.uses.contains(&Use::New) && entry.arguments.is_none() || entry.uses.contains(&Use::Import)
        };
        self.entries(global).iter().any(passes)
    }

    /// Whether some profile lists it for `uses`.
    pub fn allows(&self, global: &Global, uses: Use) -> bool {
        self.entries(global).iter().any(|entry| entry.uses.contains(&uses))
    }

    /// Whether some profile allows this call with these arguments.
    pub fn allows_call(&self, global: &Global, how: How, args: Option<&[Operand]>) -> bool {
        let fits = |entry: &Allowance| match how {
            How::Reduce => entry.uses.contains(&Use::Call),
            How::New => entry.uses.contains(&Use::New),
            // INST and OBJ call a class when it has arguments and make it through `__new__` otherwise.
            How::Instantiate => entry.uses.contains(&Use::Call) || entry.uses.contains(&Use::New),
        };
        let arguments_fit = |entry: &Allowance| entry.arguments.is_none_or(|rule| self.arguments_fit(rule, args));
        self.entries(global).iter().any(|entry| fits(entry) && arguments_fit(entry))
    }

    fn may_be_called(&self, argument: &Operand) -> bool {
        match argument {
            Operand::Global(of) => self.allows_pass(of),
            Operand::ResultOf(of) => self.allows_import(of),
            Operand::Opaque => false,
            _ => true,
        }
    }

    fn arguments_fit(&self, rule: Arguments, args: Option<&[Operand]>) -> bool {
        let Some(args) = args else { return false };
        let plain = |name: &str| !name.contains("__") && !name.contains('.') && name.is_ascii();
        match rule {
            Arguments::ListedAttribute => {
                matches!(args, [Operand::Global(of), Operand::Text(name)] if self.allows_import(of) && plain(name))
            }
            Arguments::ListedClass => {
                !matches!(args, [Operand::ResultOf(_), ..]) && args.iter().all(|arg| self.may_be_called(arg))
            }
            Arguments::ListedFactory => args.iter().all(|arg| self.may_be_called(arg)),
            Arguments::TextLatin1 => {
                matches!(args, [Operand::Text(_) | Operand::Data, Operand::Text(codec)] if matches!(codec.as_str(), "latin1" | "latin-1"))
            }
            Arguments::NestedBytes => matches!(args, [Operand::Bytes]),
            Arguments::PlainNames => args
                .iter()
                .all(|arg| matches!(arg, Operand::Int(_)) || matches!(arg, Operand::Text(name) if plain(name))),
            Arguments::None => args.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(module: &str, name: &str) -> Global {
        Global { module: module.into(), name: name.into(), known: true, python2: false }
    }

    #[test]
    fn the_built_in_rule_files_compile() {
        let imports = Imports::compile(FILES).unwrap();
        assert!(imports.allowed.len() > 150, "{}", imports.allowed.len());
        assert!(imports.danger_modules.len() > 80);
    }

    #[test]
    fn danger_is_seen_through_dots_submodules_and_old_names() {
        let imports = Imports::built_in();
        for (module, name) in [
            ("os", "system"),
            ("logging", "os.system"),
            ("collections", "_sys.modules.get"),
            ("asyncio.unix_events", "_UnixSubprocessTransport._start"),
            ("__builtin__", "eval"),
            ("commands", "getoutput"),
            ("torch", "hub.load"),
        ] {
            assert!(imports.danger(&global(module, name)).is_some(), "{module}.{name}");
        }
        for (module, name) in [("collections", "OrderedDict"), ("torch", "FloatStorage"), ("my_model", "Net")] {
            assert_eq!(imports.danger(&global(module, name)), None, "{module}.{name}");
        }
    }

    #[test]
    fn no_listed_import_is_dangerous() {
        let imports = Imports::built_in();
        for (module, name) in imports.allowed.keys() {
            assert!(
                imports
                    .danger_modules
                    .keys()
                    .all(|danger| module != danger && !module.starts_with(&format!("{danger}."))),
                "{module}.{name}"
            );
            assert!(!imports.danger_names.contains_key(&(module.clone(), name.clone())), "{module}.{name}");
        }
    }

    #[test]
    fn listed_calls_hold_only_with_the_arguments_stated() {
        let imports = Imports::built_in();
        let text = |text: &str| Operand::Text(text.into());
        let reduce = |module: &str, name: &str, args: &[Operand]| {
            imports.allows_call(&global(module, name), How::Reduce, Some(args))
        };
        assert!(reduce("_codecs", "encode", &[text("x"), text("latin1")]));
        assert!(!reduce("_codecs", "encode", &[text("x"), text("rot13")]));
        assert!(reduce("functools", "partial", &[Operand::Global(global("collections", "OrderedDict"))]));
        assert!(!reduce("functools", "partial", &[Operand::Global(global("os", "system"))]));
        assert!(!imports.allows_call(&global("functools", "partial"), How::Reduce, None));
        assert!(!reduce("functools", "partial", &[Operand::Global(global("builtins", "getattr"))]));
        assert!(!reduce("copyreg", "__newobj__", &[Operand::ResultOf(global("argparse", "Namespace"))]));
        assert!(!reduce(
            "numpy.random._pickle",
            "__generator_ctor",
            &[Operand::Bytes, Operand::Global(global("torch.storage", "_load_from_bytes"))]
        ));
        assert!(reduce("operator", "itemgetter", &[Operand::Int(1)]));
        assert!(!reduce("operator", "attrgetter", &[text("__class__")]));
        assert!(!reduce("builtins", "str", &[Operand::Bytes, text("ascii")]));
    }
}
