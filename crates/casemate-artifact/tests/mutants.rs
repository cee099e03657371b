//! Every hostile sample with one bit or byte changed, and cut short: no panic, a verdict, and never clean by chance.
//!
//! A mutant of a malicious pickle may come out clean only if CPython's own readers, which merely record, import nothing
//! from it that the policy does not list, or if it is plain text from which they call nothing.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;

use std::collections::BTreeSet;

use casemate_artifact::pickle::Global;
use casemate_artifact::{Imports, Verdict};
use casemate_core::Seed;

use crate::common::{
    CALLED, Member, Sample, bytes, calling, hostile, named, npy, pickle, python_imports, safetensors, samples, scan,
    text, torch_zip, zip, zip_at, zip_without_directory,
};

const SEED: Seed = Seed(20_261_121);

/// Places changed in one sample, and places it is cut at.
const PLACES: u64 = 60;

/// Number `n` of the places of sample `i` below `len`, all of them where there are few.
fn place(sample: u64, n: u64, len: usize) -> usize {
    let len = len as u64;
    let at = if len <= PLACES { n % len } else { SEED.part(sample << 16 | n).0 % len };
    usize::try_from(at).unwrap()
}

/// The mutants of one sample: a byte changed, a bit flipped, cut.
fn mutants(sample: u64, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut mutants = Vec::new();
    for n in 0..PLACES {
        let at = place(sample, n, bytes.len());
        let change = u8::try_from(SEED.part(sample << 16 | n << 8).0 % 255).unwrap() + 1;
        for changed in [bytes[at].wrapping_add(change), bytes[at] ^ 1 << (n % 8)] {
            let mut mutant = bytes.to_vec();
            mutant[at] = changed;
            mutants.push(mutant);
        }
        mutants.push(bytes[..at].to_vec());
    }
    mutants
}

/// Hostile pickles of every mechanism, one stream each, so that Python can read along.
fn pickles() -> Vec<(String, Vec<u8>)> {
    let golden = samples().into_iter().filter(|sample| sample.kind == "hit" && sample.name.ends_with(".pkl"));
    let by_hand = [
        hostile(),
        calling("builtins", "eval"),
        calling("logging", "os.system"),
        b"cos\nsystem\n(S'echo x'\ntR.".to_vec(),
        b"(S'echo x'\nios\nsystem\n.".to_vec(),
        pickle(&[b"(", &named("os", "system"), &text("echo x"), b"o"]),
        pickle(&[&named("subprocess", "Popen"), &text("x"), b"\x85}\x92"]),
        pickle(&[b"Nq\x070Nq\x090", &text("os"), b"\x940", &text("system"), b"\x940h\x02h\x03\x93)R"]),
        pickle(&[&text("os"), &text("system"), b"(", &text("collections"), b"1\x93)R"]),
        pickle(&[br"S'\x6f\x73'", b"\nV\\u0073ystem\n\x93)R"]),
        [&[0x80, 4, 0x95, 7, 0, 0, 0, 0, 0, 0, 0][..], b"cos\nsystem\n)R."].concat(),
        pickle(&[&named("sys", "modules"), &text("os"), b"Ns"]),
    ];
    let by_hand = by_hand.into_iter().enumerate().map(|(i, bytes)| (format!("pickle {i}"), bytes));
    golden.map(|sample| (sample.name, sample.bytes)).chain(by_hand).collect()
}

/// Hostile files of the other formats, beside the golden ones.
fn files() -> Vec<(String, Vec<u8>)> {
    let data = Member::stored("archive/data.pkl", &hostile());
    let header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n";
    let tensors = "{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}";
    let by_hand = [
        ("a.pt", torch_zip(&hostile())),
        ("b.pt", zip(&[Member { crc_error: 1, ..data.clone() }])),
        ("c.pt", zip(&[Member { local_name: "archive/x".into(), ..data.clone() }])),
        ("d.pt", [hostile(), zip_at(std::slice::from_ref(&data), hostile().len(), 1)].concat()),
        ("e.pt", zip_without_directory(&[data])),
        ("f.npy", npy(header, &hostile())),
        ("g.npz", zip(&[Member::stored("a.npy", &npy(header, &hostile()))])),
        ("h.zip", zip(&[Member::zeros("a.bin", 1 << 20), Member::stored("../x", b"x")])),
        ("i.safetensors", [safetensors(tensors, b"abcd"), hostile()].concat()),
        ("j.pkl", pickle(&[&named("torch.storage", "_load_from_bytes"), &bytes(&hostile()), b"\x85R"])),
    ];
    let golden = samples().into_iter().filter(|sample: &Sample| sample.kind == "hit" && !sample.name.ends_with(".pkl"));
    let golden = golden.map(|sample| (sample.name, sample.bytes));
    golden.chain(by_hand.into_iter().map(|(name, bytes)| (name.to_owned(), bytes))).collect()
}

#[test]
fn mutants_of_every_format_get_a_verdict() {
    let mut scanned = 0;
    for (i, (name, bytes)) in files().iter().enumerate() {
        for mutant in mutants(i as u64, bytes) {
            // A panic fails the test; a verdict without a reason would be a defect as well.
            let scan = scan(name, &mutant);
            assert!(scan.verdict == Verdict::Clean || !scan.findings.is_empty(), "{name}");
            scanned += 1;
        }
    }
    assert!(scanned > 4000, "only {scanned} mutants");
}

#[test]
fn a_mutant_is_clean_only_if_python_imports_nothing_bad_either() {
    let imports = Imports::built_in();
    let pickles = pickles();
    let mutants: Vec<_> =
        pickles.iter().enumerate().flat_map(|(i, (_, bytes))| mutants(1000 + i as u64, bytes)).collect();
    let python = python_imports(&mutants);
    let (mut clean, mut seen) = (0, 0);
    for (mutant, names) in mutants.iter().zip(&python) {
        let bad: BTreeSet<_> = names
            .iter()
            .filter(|name| {
                let (module, name) = name.split_once('\x1f').unwrap();
                // Python asks for these too, but no module has such names, so nothing comes of it but an error.
                let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
                if module.is_empty() || name.is_empty() || !module.chars().chain(name.chars()).all(word) {
                    return false;
                }
                let global = Global { module: module.into(), name: name.into(), known: true, python2: false };
                !imports.allows_import(&global)
            })
            .collect();
        seen += u64::from(!bad.is_empty());
        let scan = scan("model.pkl", mutant);
        if scan.verdict == Verdict::Clean {
            clean += 1;
            // Lines of text are no pickle only because the first word begins with `c`: what imports and then breaks, calling
            // nothing, is left to be text.
            let is_text = mutant.first() != Some(&0x80) && scan.format == "text" && !names.contains(CALLED);
            assert!(bad.is_empty() || is_text, "clean, but Python imports {bad:?}: {} ({SEED})", mutant.escape_ascii());
        }
    }
    assert!(seen > 1000, "Python imported something bad from {seen} mutants only");
    assert!(clean < mutants.len() / 4, "{clean} of {} mutants are clean", mutants.len());
}
