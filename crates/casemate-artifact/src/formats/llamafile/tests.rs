//! Programs that carry an archive, with a model in it and without.

use proptest::prelude::*;
use std::sync::Arc;

use super::*;
use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, mutants, parse, sniff, stored_zip};
use crate::{Scan, Scanner, Verdict};
use casemate_core::{Limits, MemorySource};

/// The beginning of a portable executable whose shell part says a word and ends.
const PROGRAM: &[u8] = b"MZqFpD='\n\0\x10\0\xf8\0\0\0\0\0\0\x01\0\x08@\0\0\0'\necho casemate\nexit 0\n\xfe\xff\x90\x90";
/// A model without keys and tensors.
const MODEL: &[u8] = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn scan(name: &str, bytes: &[u8]) -> Scan {
    Scanner::new(Limits::default()).scan(name, Arc::new(MemorySource::new(bytes)))
}

fn rules(scan: &Scan) -> Vec<&str> {
    scan.findings.iter().map(|finding| finding.rule.as_str()).collect()
}

#[test]
fn a_llamafile_is_a_program_whose_members_are_followed() {
    let bytes = stored_zip(PROGRAM, &[(".args", b"-m\nmodel.gguf\n"), ("model.gguf", MODEL)]);
    assert_eq!(sniff(&Llamafile, &bytes), Sniff::Certain);
    assert_whole(&parse(&Llamafile, &bytes), &bytes);
    let found = scan("model.llamafile", &bytes);
    assert_eq!((found.format, found.verdict), ("llamafile", Verdict::Suspicious));
    assert_eq!(rules(&found), ["embedded-executable", "unsafe-format"]);
    assert!(found.objects.iter().any(|object| object.format == "gguf"));
}

#[test]
fn a_hostile_member_is_judged_as_anywhere() {
    let pickle = b"\x80\x04\x8c\x02os\x8c\x06system\x93(\x8c\x04truetR.";
    let bytes = stored_zip(PROGRAM, &[("model.gguf", MODEL), ("extra.pkl", pickle)]);
    assert_eq!(scan("model.llamafile", &bytes).verdict, Verdict::Malicious);
}

#[test]
fn without_a_model_it_is_a_program_and_another_program_before_a_zip_is_hidden() {
    let bytes = stored_zip(PROGRAM, &[("readme.txt", b"words")]);
    let found = scan("tool.com", &bytes);
    assert_eq!((found.format, found.verdict), ("executable", Verdict::Suspicious));
    let script = stored_zip(b"#!/bin/sh\necho casemate\nexit 0\n", &[("model.gguf", MODEL)]);
    assert_eq!(sniff(&Llamafile, &script), Sniff::No);
    let found = scan("model.zip", &script);
    assert_eq!((found.format, found.verdict), ("zip", Verdict::Malicious));
    assert_eq!(rules(&found), ["embedded-executable", "bytes-unclaimed"]);
}

#[test]
fn the_model_by_itself_and_in_a_plain_archive_is_clean() {
    assert_eq!(scan("model.gguf", MODEL).verdict, Verdict::Clean);
    assert_eq!(scan("model.zip", &stored_zip(b"", &[("model.gguf", MODEL)])).verdict, Verdict::Clean);
}

#[test]
fn bytes_between_and_behind_the_members_stay_hidden() {
    let bytes = stored_zip(PROGRAM, &[("model.gguf", MODEL)]);
    let appended = [&bytes[..], b"tail"].concat();
    assert_eq!(hidden(&parse(&Llamafile, &appended), &appended).len(), 1);
    assert_eq!(sniff(&Llamafile, PROGRAM), Sniff::No);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(PROGRAM)) {
        assert_bounded(&Llamafile, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(stored_zip(PROGRAM, &[("model.gguf", MODEL)]))) {
        assert_bounded(&Llamafile, &bytes);
    }
}
