//! Documents that do something, and texts that only look like documents.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, mutants, parse, sniff, troubles};

const XXE: &[u8] = b"<?xml version=\"1.0\"?><!DOCTYPE r [<!ENTITY x SYSTEM \"file:///etc/hostname\">]><r>&x;</r>";

#[test]
fn documents_are_recognised_and_prose_is_not() {
    for certain in [&b"<?xml version='1.0'?><r/>"[..], b"\xef\xbb\xbf<?xml version='1.0'?><r/>", XXE] {
        assert_eq!(sniff(&Xml, certain), Sniff::Certain);
    }
    let padded = [&b"<!--"[..], &b" ".repeat(9000), b"--><r/>"].concat();
    for likely in [&b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..], b"<!DOCTYPE r [ <!ENTITY a 'b'>", &padded] {
        assert_eq!(sniff(&Xml, likely), Sniff::Likely);
    }
    for other in [
        &b"<p align='center'>\n# Model\n"[..],
        b"<!DOCTYPE html><html>",
        b"<!-- a -->\n# Model",
        b"<s>{{ x }}",
        b"",
        b"x",
    ] {
        assert_eq!(sniff(&Xml, other), Sniff::No, "{}", String::from_utf8_lossy(other));
    }
}

#[test]
fn entities_subsets_inclusions_and_instructions_are_listed() {
    let parsed = parse(&Xml, XXE);
    assert_whole(&parsed, XXE);
    assert_eq!(
        (parsed.active[0].kind, parsed.active[0].target.as_str()),
        (ActiveKind::ExternalEntity, "file:///etc/hostname")
    );
    let other =
        b"<?xml version='1.0'?><?xml-stylesheet href='http://h/x.xsl'?><!DOCTYPE r PUBLIC 'p' 'http://h/x.dtd'>\
        <r><xi:include href='a.xml'/></r>";
    let kinds: Vec<_> = parse(&Xml, other).active.iter().map(|active| active.kind).collect();
    assert_eq!(kinds, [ActiveKind::Instruction, ActiveKind::Include, ActiveKind::ExternalSubset]);
}

#[test]
fn declarations_are_seen_where_the_document_breaks_and_out_of_sight() {
    let broken = b"<!DOCTYPE r [<!ENTITY % p SYSTEM 'http://h/p'>]><r>";
    let parsed = parse(&Xml, broken);
    assert_eq!((troubles(&parsed), parsed.active.len()), (vec![Trouble::Undecodable], 1));
    let hidden = b"<!DOCTYPE r [<!ENTITY % p \"&#60;!ENTITY x SYSTEM 'file:///x'>\"> %p;]><r/>";
    assert_eq!(parse(&Xml, hidden).active[0].kind, ActiveKind::ExternalEntity);
}

#[test]
fn models_behind_a_long_comment_are_read_as_such() {
    let padded = [&b"<!--"[..], &b" ".repeat(9000), b"--><PMML><Apply function='x-evil'/></PMML>"].concat();
    let parsed = parse(&Xml, &padded);
    assert_eq!((parsed.refined, parsed.operators.len()), (Some("pmml"), 1));
}

#[test]
fn appended_bytes_stay_and_what_is_no_document_is_text() {
    let bytes = b"<?xml version='1.0'?><r/>\nPK\x05\x06";
    assert_eq!(hidden(&parse(&Xml, bytes), bytes).first(), Some(&(26..30)));
    assert_whole(&parse(&Xml, b"<a xmlns='b'> </c>"), b"<a xmlns='b'> </c>");
    assert_eq!(parse(&Xml, b"<?xml version='1.0'?><a>{{ t }}</c>").texts.len(), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY ")) {
        assert_bounded(&Xml, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(XXE.to_vec())) {
        assert_bounded(&Xml, &bytes);
    }
}
