//! Registries of casemate-artifact: one file is one detector or format, named like its id, listed once, and shown by samples.

use anyhow::Result;

use super::Violation;
use crate::rust_struct;
use crate::rust_text;
use crate::tree::{File, Tree};

const SRC: &str = "crates/casemate-artifact/src";
const TESTDATA: &str = "testdata/artifact";

/// What every detector needs a sample of.
const SAMPLES: &[&str] = &["hit-", "near-", "benign-"];

/// A kind of registered file.
struct Registry {
    /// `detectors` or `formats`.
    name: &'static str,
    /// How its description begins.
    opening: &'static str,
    /// Whether a file must have a description; where it need not, one without is a helper.
    required: bool,
    /// Whether the type is named like the file.
    type_named: bool,
}

const REGISTRIES: &[Registry] = &[
    Registry { name: "detectors", opening: "static META: Meta = Meta {", required: true, type_named: true },
    Registry { name: "formats", opening: "FormatMeta {", required: false, type_named: false },
];

/// Checks both registries, and that every detector has its samples.
pub fn check(tree: &Tree) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for registry in REGISTRIES {
        let Some(list) = tree.file(&format!("{SRC}/{}.rs", registry.name))? else { continue };
        let directory = format!("{SRC}/{}", registry.name);
        let mut files = tree.files(&directory, "rs")?;
        // Modules of a format's own lie one deeper.
        files.retain(|file| file.path.matches('/').count() == directory.matches('/').count() + 1);
        violations.extend(check_registry(registry, &list, &files));
        if registry.name == "detectors" {
            for file in &files {
                let rule = file.stem().replace('_', "-");
                let samples = tree.paths(&format!("{TESTDATA}/{rule}"))?;
                violations.extend(check_samples(&file.path, &rule, &samples));
            }
        }
    }
    Ok(violations)
}

fn check_registry(registry: &Registry, list: &File, files: &[File]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in files {
        let literal = rust_struct::find(&file.text, registry.opening);
        match literal {
            None if !registry.required => continue,
            None => {
                let what = format!("has no `{}`; every detector describes itself", registry.opening);
                violations.push(Violation::new(&file.path, 1, what));
            }
            Some(Err((line, what))) => {
                violations.push(Violation::new(
                    &file.path,
                    line,
                    format!("{what}; write the description as constants"),
                ));
            }
            Some(Ok(literal)) => {
                let id = file.stem().replace('_', "-");
                if literal.text("id") != id {
                    let what = format!("id is `{}`, the file says `{id}`; make them agree", literal.text("id"));
                    violations.push(Violation::new(&file.path, literal.line, what));
                }
            }
        }
        violations.extend(check_listed(registry, list, file));
    }
    for (line, module) in listed_modules(list) {
        if !files.iter().any(|file| file.stem() == module) {
            let what = format!("lists `{module}`, which has no file; remove the line");
            violations.push(Violation::new(&list.path, line, what));
        }
    }
    violations
}

/// The file's `mod` line and its line in the list, each once; its type where the name is given.
fn check_listed(registry: &Registry, list: &File, file: &File) -> Vec<Violation> {
    let mut violations = Vec::new();
    let module = file.stem();
    let code = rust_text::code_only(&list.text);
    let lines = |wanted: &dyn Fn(&str) -> bool| code.lines().filter(|line| wanted(line.trim())).count();
    let declaration = format!("mod {module};");
    let n_mod = lines(&|line| {
        line.strip_suffix(&declaration).is_some_and(|before| before.is_empty() || before.starts_with("pub"))
    });
    if n_mod != 1 {
        let what = format!("has {n_mod} lines `mod {module};` in {}; it needs one", list.path);
        violations.push(Violation::new(&file.path, 1, what));
    }
    let entry = format!("&{module}::");
    let n_entry = code.matches(&entry).count();
    let listed = code.split_once(&entry).map_or("", |(_, rest)| rest);
    let listed: String = listed.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if n_entry != 1 {
        let what = format!("stands {n_entry} times in the list of {}; it needs one line `{entry}…,`", list.path);
        violations.push(Violation::new(&file.path, 1, what));
    } else if registry.type_named && listed != camel_case(module) {
        let what = format!("type is `{listed}`, the file says `{}`; make them agree", camel_case(module));
        violations.push(Violation::new(&file.path, file.line_of(&format!("struct {listed}")), what));
    } else if !declares(&file.text, &listed) {
        let what = format!("has no public type `{listed}`, which {} lists; add it", list.path);
        violations.push(Violation::new(&file.path, 1, what));
    }
    violations
}

fn declares(text: &str, name: &str) -> bool {
    let code = rust_text::code_only(text);
    ["pub struct ", "pub enum ", "pub(crate) struct ", "pub(super) struct "].iter().any(|keyword| {
        code.match_indices(&format!("{keyword}{name}")).any(|(at, found)| {
            let after = code.get(at + found.len()..).and_then(|rest| rest.chars().next());
            !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
    })
}

/// The modules in the list's entries, with their lines.
fn listed_modules(list: &File) -> Vec<(usize, String)> {
    let code = rust_text::code_only(&list.text);
    let entry = |line: &str| {
        let (module, name) = line.trim().strip_prefix('&')?.strip_suffix(',')?.split_once("::")?;
        let is_word = |word: &str| word.chars().all(|c| c.is_alphanumeric() || c == '_');
        (is_word(module) && is_word(name)).then(|| module.to_owned())
    };
    code.lines().enumerate().filter_map(|(i, line)| Some((i + 1, entry(line)?))).collect()
}

fn check_samples(path: &str, rule: &str, samples: &[String]) -> Vec<Violation> {
    let is_there = |kind: &str| samples.iter().any(|sample| sample.starts_with(&format!("{TESTDATA}/{rule}/{kind}")));
    let missing: Vec<_> = SAMPLES.iter().filter(|kind| !is_there(kind)).map(|kind| format!("{kind}*")).collect();
    match missing.is_empty() {
        true => Vec::new(),
        false => {
            let what = format!("has no sample {}; add it under {TESTDATA}/{rule}/", missing.join(", "));
            vec![Violation::new(path, 1, what)]
        }
    }
}

fn camel_case(module: &str) -> String {
    let upper = |word: &str| {
        let mut chars = word.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect::<String>()).unwrap_or_default()
    };
    module.split('_').map(upper).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "mod a_b;\npub static DETECTORS: &[&dyn Detector] = &[\n    &a_b::AB,\n];\n";
    const DETECTOR: &str = "//! Doc.\npub struct AB;\nstatic META: Meta = Meta {\n    id: \"a-b\",\n};\n";

    fn violations(name: &str, list: &str, files: &[(&str, &str)]) -> Vec<String> {
        let registry = REGISTRIES.iter().find(|registry| registry.name == name).unwrap();
        let files: Vec<_> = files.iter().map(|(path, text)| File::new(*path, *text)).collect();
        check_registry(registry, &File::new("list.rs", list), &files).into_iter().map(|v| v.what).collect()
    }

    #[test]
    fn a_registered_detector_passes() {
        let public = LIST.replace("mod a_b", "pub(crate) mod a_b");
        assert_eq!(violations("detectors", &public, &[("d/a_b.rs", DETECTOR)]), [""; 0]);
        assert_eq!(violations("detectors", LIST, &[("d/a_b.rs", DETECTOR)]), [""; 0]);
    }

    #[test]
    fn id_type_and_lines_must_agree_with_the_file() {
        let id = violations("detectors", LIST, &[("d/a_b.rs", &DETECTOR.replace("a-b", "ab"))]);
        assert!(id.iter().any(|what| what.starts_with("id is `ab`")), "{id:?}");
        let renamed = violations("detectors", &LIST.replace("AB", "Ab"), &[("d/a_b.rs", DETECTOR)]);
        assert!(renamed.iter().any(|what| what.starts_with("type is `Ab`")), "{renamed:?}");
        assert_eq!(violations("detectors", "// mod a_b; &a_b::AB,", &[("d/a_b.rs", DETECTOR)]).len(), 2);
        assert_eq!(violations("detectors", &format!("{LIST}    &a_b::AB,\n"), &[("d/a_b.rs", DETECTOR)]).len(), 1);
        assert_eq!(violations("detectors", LIST, &[]), ["lists `a_b`, which has no file; remove the line"]);
        assert_eq!(violations("detectors", LIST, &[("d/a_b.rs", "pub struct AB;")]).len(), 1);
    }

    #[test]
    fn a_format_may_name_its_type_freely_and_helpers_are_exempt() {
        let list = LIST.replace("AB", "PlainText");
        let format = "pub struct PlainText;\nfn meta(&self) -> FormatMeta {\n    FormatMeta { id: \"a-b\" }\n}\n";
        assert_eq!(violations("formats", &list, &[("f/a_b.rs", format), ("f/helper.rs", "fn f() {}")]), [""; 0]);
        assert_eq!(violations("formats", &list, &[("f/a_b.rs", &format.replace("a-b", "ab"))]).len(), 1);
    }

    #[test]
    fn every_kind_of_sample_is_asked_for() {
        let sample = |name: &str| format!("{TESTDATA}/a-b/{name}");
        let all = [sample("benign-x.pkl.hex"), sample("hit-x.hex"), sample("near-x.hex")];
        assert!(check_samples("a_b.rs", "a-b", &all).is_empty());
        let one = check_samples("a_b.rs", "a-b", &all[..1]);
        assert!(one[0].what.starts_with("has no sample hit-*, near-*;"), "{one:?}");
    }
}
