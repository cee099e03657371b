//! Settings in YAML and in lists of packages, read line by line.
//!
//! `!!python/object/apply:os.system` runs while PyYAML reads it (unsafe loaders); `_target_:` is imported and called by Hydra
//! and NeMo (CVE-2025-23304); MLflow imports `loader_module:`; `conda.yaml` and `requirements.txt` say where packages come
//! from; of a NeMo model, the class named by `target:` at the top is imported. Key and value stand on one line in what tools
//! write, and YAML allows the value on the next; no tree is built.

use crate::formats::reading::is_dotted_name;
use crate::{Setting, SettingKind};

/// Settings handed on of one text.
const SETTINGS_MAX: usize = 10_000;

/// The settings of a text, in order. Texts that are no YAML have none, or quote some.
pub(crate) fn settings(text: &str) -> impl Iterator<Item = Setting> {
    let lines: Vec<&str> = text.split(['\n', '\r']).collect();
    let numbered = (1..).zip(0..lines.len());
    numbered.flat_map(move |(number, n)| of_line(lines.get(n..).unwrap_or_default(), number)).take(SETTINGS_MAX)
}

/// The settings of the first of these lines.
fn of_line(lines: &[&str], number: u64) -> Vec<Setting> {
    let first = lines.first().copied().unwrap_or_default();
    let line = first.trim();
    if line.starts_with('#') {
        return Vec::new();
    }
    let setting = |kind, path: &str, value: &str| Setting {
        kind,
        path: path.chars().take(200).collect(),
        value: value.chars().take(200).collect(),
        line: Some(number),
    };
    let mut found: Vec<Setting> = python_tags(line).map(|name| setting(SettingKind::YamlObject, "tag", name)).collect();
    for key in ["_target_", "loader_module", "trust_remote_code", "target"] {
        let Some(value) = value_of(line, key) else { continue };
        let value = if value.is_empty() { next_value(lines) } else { value };
        let kind = match key {
            "_target_" => SettingKind::Target,
            "target" if first.starts_with(['t', '"', '\'']) && value.contains('.') => SettingKind::Target,
            "loader_module" if is_dotted_name(value) => SettingKind::LoaderModule,
            "trust_remote_code" if value.eq_ignore_ascii_case("true") => SettingKind::TrustRemoteCode,
            _ => continue,
        };
        found.push(setting(kind, key, value));
    }
    found.extend(package_source(line).map(|(option, value)| setting(SettingKind::PackageIndex, option, value)));
    found
}

/// The names in Python tags of a line, in all three spellings of a tag.
fn python_tags(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        loop {
            let start = ["!!python/", "tag:yaml.org,2002:python/"]
                .iter()
                .filter_map(|tag| rest.find(tag).map(|at| at + tag.len()))
                .min()?;
            rest = rest.get(start..).unwrap_or_default();
            let name = rest.split([' ', '\t', '>', '[', '{', '"', '\'', '`', ',']).next().unwrap_or_default();
            // `tuple`, `str` and the like only hold data; the others name something after a colon.
            if name.contains(':') {
                return Some(name);
            }
        }
    })
}

/// The scalar after `key:` in a line, in block or flow style, quotes taken off.
fn value_of<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let at = line.find(key)?;
    let (before, after) = (line.get(..at)?, line.get(at + key.len()..)?);
    let begins = before.trim_end_matches(['"', '\'']).trim_end();
    if !(begins.is_empty() || begins.ends_with(['-', '{', ','])) {
        return None;
    }
    let value = after.trim_start_matches(['"', '\'']).trim_start().strip_prefix(':')?.trim_start();
    Some(scalar(value))
}

/// The first word of a value; an anchor or a tag may stand before it.
fn scalar(value: &str) -> &str {
    let word = value.split_whitespace().find(|word| !word.starts_with(['&', '!'])).unwrap_or_default();
    word.trim_matches(['"', '\'', ',', '}', ']'])
}

/// The value that begins in one of the lines after a key, blank ones and comments passed over.
fn next_value<'a>(lines: &[&'a str]) -> &'a str {
    let mut next = lines.iter().skip(1).take(8).map(|line| line.trim());
    next.find(|line| !line.is_empty() && !line.starts_with('#')).map_or("", scalar)
}

/// An option of pip that says where packages come from, and its value.
fn package_source(line: &str) -> Option<(&'static str, &str)> {
    let line = line.trim_start_matches("- ").trim_matches(['"', '\'']);
    let options = ["--extra-index-url", "--index-url", "--trusted-host", "--find-links", "-i", "-f"];
    options.into_iter().find_map(|option| {
        let rest = line.strip_prefix(option)?;
        let value = rest.strip_prefix(['=', ' ', '\t'])?.trim_start();
        Some((option, value.split_whitespace().next()?))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<(SettingKind, String)> {
        settings(text).map(|setting| (setting.kind, setting.value)).collect()
    }

    #[test]
    fn settings_are_found_in_block_and_flow_style() {
        for (text, kind, value) in [
            ("a: !!python/object/apply:os.system ['x']", SettingKind::YamlObject, "object/apply:os.system"),
            ("- !<tag:yaml.org,2002:python/name:os.system>", SettingKind::YamlObject, "name:os.system"),
            ("  _target_: os.system", SettingKind::Target, "os.system"),
            ("x: {\"_target_\": 'os.system', a: 1}", SettingKind::Target, "os.system"),
            ("- _target_ : &a !!str os.system", SettingKind::Target, "os.system"),
            ("    loader_module: evil.loader", SettingKind::LoaderModule, "evil.loader"),
            ("trust_remote_code: True", SettingKind::TrustRemoteCode, "True"),
            ("  - --extra-index-url http://h/simple", SettingKind::PackageIndex, "http://h/simple"),
            ("--trusted-host=h", SettingKind::PackageIndex, "h"),
            ("a:\n  _target_:\n\n  # c\n    os.system", SettingKind::Target, "os.system"),
            ("target: os.system", SettingKind::Target, "os.system"),
        ] {
            let found = shown(text).into_iter().next();
            assert_eq!(found, Some((kind, value.to_owned())), "{text}");
        }
    }

    #[test]
    fn other_lines_say_nothing() {
        for text in [
            "a: !!python/tuple [1]",
            "# _target_: x",
            "my_target_: x",
            "  target: a.b",
            "target: x86",
            "the key _target_: x",
            "-index",
            "pip -i x",
        ] {
            assert_eq!(shown(text), [], "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_within_limits(text in "[!:/ _'\"{}<>,é\n-]{0,60}(_target_|!!python/|-i )?[!: a'}\n]{0,20}") {
            prop_assert!(settings(&text).count() <= 4 * text.len());
        }
    }
}
