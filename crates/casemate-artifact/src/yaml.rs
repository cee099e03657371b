//! Settings in YAML and in lists of packages, read line by line.
//!
//! `!!python/object/apply:os.system` runs while PyYAML reads it (unsafe loaders); `_target_:` is imported and called by Hydra
//! and NeMo (CVE-2025-23304); MLflow imports `loader_module:`; `conda.yaml` and `requirements.txt` say where packages come
//! from. Key and value stand on one line in what tools write, so a line is enough; no tree is built.

use crate::formats::reading::is_dotted_name;
use crate::{Setting, SettingKind};

/// Settings handed on of one text.
const SETTINGS_MAX: usize = 10_000;

/// The settings of a text, in order. Texts that are no YAML have none, or quote some.
pub(crate) fn settings(text: &str) -> impl Iterator<Item = Setting> {
    let lines = text.split(['\n', '\r']).zip(1..);
    lines.flat_map(|(line, number)| of_line(line, number)).take(SETTINGS_MAX)
}

fn of_line(line: &str, number: u64) -> Vec<Setting> {
    let line = line.trim();
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
    for key in ["_target_", "loader_module", "trust_remote_code"] {
        let Some(value) = value_of(line, key) else { continue };
        let kind = match key {
            "_target_" => SettingKind::Target,
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
    // An anchor or a tag may stand before the value.
    let value = value.split_whitespace().find(|word| !word.starts_with(['&', '!']))?;
    Some(value.trim_matches(['"', '\'', ',', '}', ']']))
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
        ] {
            let found = shown(text).into_iter().next();
            assert_eq!(found, Some((kind, value.to_owned())), "{text}");
        }
    }

    #[test]
    fn other_lines_say_nothing() {
        for text in
            ["a: !!python/tuple [1]", "# _target_: x", "my_target_: x", "the key _target_: x", "-index", "pip -i x"]
        {
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
