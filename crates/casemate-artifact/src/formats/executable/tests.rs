//! Programs of each kind, and bytes that only begin like one.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{any_bytes, assert_bounded, assert_whole, hidden, mutants, parse, sniff, troubles};

/// A 64-bit little-endian ELF with one section and one segment, 400 bytes long.
fn elf() -> Vec<u8> {
    let mut bytes = vec![0u8; 400];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let mut put = |at: usize, value: u64, len: usize| bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
    for (at, value) in [(16, 3), (18, 62), (20, 1), (52, 64), (54, 56), (56, 1), (58, 64), (60, 1)] {
        put(at, value, 2);
    }
    put(32, 64, 8);
    put(40, 336, 8);
    put(64 + 8, 0, 8);
    put(64 + 32, 200, 8);
    put(336 + 4, 1, 4);
    put(336 + 24, 200, 8);
    put(336 + 32, 100, 8);
    bytes
}

/// A PE with one section that ends at 300.
fn pe() -> Vec<u8> {
    let mut bytes = vec![0u8; 300];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c] = 128;
    bytes[128..136].copy_from_slice(b"PE\0\0\x64\x86\x01\0");
    bytes[152 + 16] = 100;
    bytes[152 + 20] = 200;
    bytes
}

fn mach() -> Vec<u8> {
    let fields = [0xfeed_facfu32, 0x0100_000c, 0, 6, 1, 8, 0, 0, 0, 0];
    fields.iter().flat_map(|field| field.to_le_bytes()).collect()
}

fn fat() -> Vec<u8> {
    let fields = [0xcafe_babeu32, 1, 0x0100_0007, 3, 28, 0, 0];
    fields.iter().flat_map(|field| field.to_be_bytes()).collect()
}

#[test]
fn programs_are_recognised_and_claimed() {
    for bytes in [elf(), pe(), mach(), fat(), b"#! /usr/bin/env python3\nprint()\n".to_vec()] {
        assert_eq!(sniff(&Executable, &bytes), Sniff::Certain);
        assert_whole(&parse(&Executable, &bytes), &bytes);
    }
}

#[test]
fn what_is_appended_to_elf_pe_and_scripts_stays_unclaimed() {
    for program in [elf(), pe(), b"#!/bin/sh\n".to_vec()] {
        let bytes = [&program[..], b"GGUF\x03\0\0\0"].concat();
        let parsed = parse(&Executable, &bytes);
        assert_eq!(troubles(&parsed), []);
        assert_eq!(hidden(&parsed, &bytes).len(), 1, "{program:?}");
    }
}

#[test]
fn magic_alone_is_not_enough() {
    let java = b"\xca\xfe\xba\xbe\0\0\0\x41\0\x10\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let blank = |mut bytes: Vec<u8>, at: usize| {
        bytes[at] = 0x77;
        bytes
    };
    for bytes in [
        b"MZ and more text".to_vec(),
        b"\x7fELF".to_vec(),
        java.to_vec(),
        b"#! no path\n".to_vec(),
        b"#!/\x80\n".to_vec(),
        b"#![allow(unused)]\n".to_vec(),
        blank(elf(), 52),
        blank(elf(), 20),
        blank(pe(), 132),
        blank(mach(), 4),
    ] {
        assert_eq!(sniff(&Executable, &bytes), Sniff::No, "{bytes:?}");
    }
}

#[test]
fn a_far_pe_header_is_looked_for() {
    let mut bytes = pe();
    bytes.splice(64..64, vec![0; 8000]);
    bytes[0x3c..0x40].copy_from_slice(&8128u32.to_le_bytes());
    bytes.truncate(8300);
    assert_eq!(sniff(&Executable, &bytes), Sniff::Likely);
    assert_eq!(troubles(&parse(&Executable, &bytes)), []);
    bytes[8128] = b'x';
    assert_eq!(troubles(&parse(&Executable, &bytes)), [Trouble::Undecodable]);
}

#[test]
fn a_truncated_program_is_undecodable() {
    assert_eq!(troubles(&parse(&Executable, &elf()[..350])), [Trouble::Undecodable]);
    assert_eq!(troubles(&parse(&Executable, &pe()[..250])), [Trouble::Undecodable]);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0")) {
        assert_bounded(&Executable, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in prop_oneof![mutants(elf()), mutants(pe()), mutants(mach()), mutants(fat())]) {
        assert_bounded(&Executable, &bytes);
    }
}
