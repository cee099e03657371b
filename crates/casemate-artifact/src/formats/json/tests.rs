//! JSON as loaders accept it, and JSON that two of them read differently.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{
    any_bytes, assert_bounded, assert_whole, hidden, mutants, parse, parse_within, sniff, troubles,
};
use crate::{ReferenceKind, SettingKind, TextKind};
use casemate_core::Limits;

const SAMPLE: &str =
    r#"{"chat_template": [{"name": "default", "template": "{{ a }}\n"}], "n": NaN, "m": [-Infinity, 1e3, null, true]}"#;

#[test]
fn a_configuration_is_claimed_whole_and_its_templates_are_found() {
    let parsed = parse(&Json, SAMPLE.as_bytes());
    assert_whole(&parsed, SAMPLE.as_bytes());
    assert_eq!(sniff(&Json, SAMPLE.as_bytes()), Sniff::Likely);
    assert_eq!(parsed.texts.len(), 1);
    assert_eq!((parsed.texts[0].key.as_str(), parsed.texts[0].kind), ("chat_template[0].template", TextKind::Template));
    assert_eq!(parsed.texts[0].text, "{{ a }}\n");
}

#[test]
fn settings_that_choose_code_are_handed_on_with_their_paths() {
    let text = r#"{"auto_map": {"AutoModel": "org/repo--m.Class", "AutoTokenizer": ["t.Class", null]}, "trust_remote_code": true,
        "custom_pipelines": {"x": {"impl": "p.Class", "pt": ["AutoModel"]}}, "custom_generate": "org/repo", "type": "a.b",
        "auto_mapping": {"parent_library": "lib"}, "vocab": {"auto_map": 1, "trust_remote_code": false},
        "n": [{"__loader__": "L", "__module__": "m", "__class__": "C"}, {"__class__": "C", "__loader__": "L", "__module__": "m"}]}"#;
    let parsed = parse(&Json, text.as_bytes());
    let found: Vec<_> = parsed.settings.iter().map(|s| (s.kind, s.path.as_str(), s.value.as_str())).collect();
    assert_eq!(
        found,
        [
            (SettingKind::AutoMap, "auto_map.AutoModel", "org/repo--m.Class"),
            (SettingKind::AutoMap, "auto_map.AutoTokenizer[0]", "t.Class"),
            (SettingKind::TrustRemoteCode, "trust_remote_code", "true"),
            (SettingKind::CustomPipeline, "custom_pipelines.x.impl", "p.Class"),
            (SettingKind::CustomGenerate, "custom_generate", "org/repo"),
            (SettingKind::ParentLibrary, "auto_mapping.parent_library", "lib"),
            (SettingKind::SkopsNode, "n[0]", "L m.C"),
        ]
    );
    let modules = parse(&Json, br#"[{"type": "a.B"}, {"type": "plain"}]"#);
    assert_eq!((modules.settings.len(), modules.settings[0].kind), (1, SettingKind::PipelineModule));
}

#[test]
fn files_an_index_or_a_manifest_names_are_references() {
    let parsed =
        parse(&Json, br#"{"weight_map": {"a": "x.bin", "b": "x.bin", "c": "../y"}, "model": {"handler": "/h.py"}}"#);
    let found: Vec<_> = parsed.references.iter().map(|r| (r.kind, r.target.as_str())).collect();
    assert_eq!(
        found,
        [(ReferenceKind::ExternalData, "x.bin"), (ReferenceKind::ExternalData, "../y"), (ReferenceKind::Code, "/h.py")]
    );
}

#[test]
fn json_lines_are_read_to_the_end() {
    let lines = "{\"a\": 1}\n{\"a\": \"{% b %}\"}\n\n";
    let parsed = parse(&Json, lines.as_bytes());
    assert_whole(&parsed, lines.as_bytes());
    assert_eq!(parsed.texts[0].key, "a");
}

#[test]
fn duplicate_keys_are_ambiguous_within_one_object_only() {
    assert_eq!(troubles(&parse(&Json, br#"{"a": {"b": 1, "\u0062": 2}}"#)), [Trouble::Ambiguous]);
    assert_eq!(troubles(&parse(&Json, br#"[{"a": 1}, {"a": {"a": 2}}]"#)), []);
}

#[test]
fn what_breaks_is_undecodable_and_unclaimed() {
    for text in ["{\"a\": 1", "{\"a\": 1} x", "{\"a\": \"\x01\"}", "[NaM]", "[Infinitx]", "[1,]"] {
        let parsed = parse(&Json, text.as_bytes());
        assert_eq!(troubles(&parsed), [Trouble::Undecodable], "{text:.30}");
        assert!(parsed.claims.ranges().is_empty());
    }
}

#[test]
fn what_is_too_deep_hits_a_limit_and_is_still_json() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let text = format!("{}1{}", open.repeat(50_000), close.repeat(50_000));
        assert_ne!(sniff(&Json, text.as_bytes()), Sniff::No);
        let parsed = parse(&Json, text.as_bytes());
        assert_eq!(troubles(&parsed), [Trouble::Limit]);
        assert!(hidden(&parsed, text.as_bytes()).is_empty());
    }
}

#[test]
fn templates_before_a_break_are_kept_with_the_format() {
    let parsed = parse(&Json, br#"{"chat_template": "{{ a }}", x}"#);
    assert_eq!(troubles(&parsed), [Trouble::Undecodable]);
    assert_eq!((parsed.texts.len(), parsed.claims.ranges().len()), (1, 1));
}

#[test]
fn long_strings_and_many_keys_hit_limits() {
    let limits = Limits { header_bytes_max: 1000, entries_max: 2, ..Limits::default() };
    let long = format!("[\"{}\"]", "x".repeat(2000));
    assert_eq!(troubles(&parse_within(&Json, long.as_bytes(), &limits)), [Trouble::Limit]);
    let digits = format!("[{}]", "1".repeat(2000));
    assert_eq!(troubles(&parse_within(&Json, digits.as_bytes(), &limits)), [Trouble::Limit]);
    assert_eq!(troubles(&parse_within(&Json, br#"{"a":1,"b":1,"c":1,"d":1}"#, &limits)), [Trouble::Limit]);
}

#[test]
fn other_texts_with_brackets_are_not_taken_for_json() {
    for text in ["{{ bos_token }}", "{% if a %}", "[package]\n", "[a link](b)", "{x}", "plain", ""] {
        assert_eq!(sniff(&Json, text.as_bytes()), Sniff::No, "{text}");
    }
    for text in ["[]", " [[1, 2]]", "{", "[true]", "[NaN]", "{ }"] {
        assert_eq!(sniff(&Json, text.as_bytes()), Sniff::Likely, "{text}");
    }
}

#[test]
fn operators_and_shards_of_a_browser_model_are_handed_on() {
    let text = br#"{"modelTopology": {"node": [{"op": "MatMul"}, {"op": "MatMul"}], "library": {"function": [{"nodeDef":
        [{"op": "ReadFile"}]}]}}, "weightsManifest": [{"paths": ["a.bin", "../b.bin"]}], "other": {"node": [{"op": "X"}]}}"#;
    let parsed = parse(&Json, text);
    assert_eq!(parsed.operators.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["MatMul", "ReadFile"]);
    assert_eq!(parsed.references.iter().map(|r| r.target.as_str()).collect::<Vec<_>>(), ["a.bin", "../b.bin"]);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"{\"a\": [")) {
        assert_bounded(&Json, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(SAMPLE.into())) {
        assert_bounded(&Json, &bytes);
    }
}

#[test]
fn operators_of_a_graph_are_listed_and_names_that_take_a_regular_expression_forever_reported() {
    let graph = |op: &str, rest: &str| {
        format!(
            r#"{{"nodes": [{{"op": "null", "name": "data"}}, {{"op": "{op}", "name": "a", "inputs": [[0, 0, 0]]}}]{rest}}}"#
        )
    };
    let rest = r#", "arg_nodes": [0], "heads": [[1, 0, 0]]"#;
    let operators = |text: &str| {
        let parsed = parse(&Json, text.as_bytes());
        assert_whole(&parsed, text.as_bytes());
        parsed
            .operators
            .into_iter()
            .map(|operator| format!("{} {}", operator.domain, operator.name))
            .collect::<Vec<_>>()
    };
    assert_eq!(operators(&graph("Convolution", rest)), ["mxnet Convolution"]);
    assert_eq!(operators(&graph("Custom", rest)), ["mxnet.custom Custom"]);
    assert_eq!(operators(&format!(r#"{{"attrs": {}}}"#, graph("_Native", rest))), ["mxnet.custom _Native"]);
    assert_eq!(operators(&graph("Custom", r#", "edges": []"#)), Vec::<String>::new());
    let long = graph(&"a".repeat(2000), rest);
    assert_eq!(troubles(&parse(&Json, long.as_bytes())), [Trouble::Ambiguous]);
}
