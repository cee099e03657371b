//! Documents with functions and extensions.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, mutants, parse, sniff};

fn document(inner: &str) -> Vec<u8> {
    format!("<?xml version=\"1.0\"?><PMML xmlns=\"http://www.dmg.org/PMML-4_4\" version=\"4.4\">{inner}</PMML>")
        .into_bytes()
}

fn sample() -> Vec<u8> {
    document(
        "<Header><Extension name=\"user\" value=\"ada\" extender=\"R\"/></Header><TransformationDictionary><DefineFunction \
         name=\"half\"><Apply function=\"/\"/></DefineFunction></TransformationDictionary><Apply function=\"half\"/>",
    )
}

fn actives(inner: &str) -> usize {
    parse(&Pmml, &document(inner)).active.len()
}

#[test]
fn a_sound_document_is_claimed_whole_and_says_nothing() {
    assert_eq!(sniff(&Pmml, &sample()), Sniff::Certain);
    assert_eq!(sniff(&Pmml, b"<p:PMML xmlns:p='x'/>"), Sniff::Certain);
    let parsed = parse(&Pmml, &sample());
    assert_whole(&parsed, &sample());
    assert!(parsed.operators.is_empty() && parsed.active.is_empty());
}

#[test]
fn functions_nobody_defines_are_operators_of_a_domain_of_their_own() {
    let parsed =
        parse(&Pmml, &document("<Apply function='x-run'/><Apply function='org.evil.F'/><Apply function='exp'/>"));
    assert_eq!(parsed.operators.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["org.evil.F", "x-run"]);
}

#[test]
fn scripts_in_extensions_are_seen_and_settings_are_not_taken_for_them() {
    for hit in [
        "<Extension><script>print(1)</script></Extension>",
        "<Extension name='script' value='x'/>",
        "<Extension>import os; os.system('true')</Extension>",
        "<Extension><![CDATA[<script>alert(1)</script>]]></Extension>",
        "<Extension value='java.lang.Runtime'/>",
        "<Extension><a><b language='groovy'/></a></Extension>",
    ] {
        assert!(actives(hit) > 0, "{hit}");
    }
    for near in [
        "<Extension name='timestamp' value='2026-01-01'/>",
        "<Extension extender='KNIME' name='operator' value='normalize'>0.5</Extension>",
        "<Annotation>calls eval(x) and os.system</Annotation>",
    ] {
        assert_eq!(actives(near), 0, "{near}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"<PMML><Extension ")) {
        assert_bounded(&Pmml, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(sample())) {
        assert_bounded(&Pmml, &bytes);
    }
}
