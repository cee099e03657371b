//! Hostile inputs cost bounded memory and time: at most 64 MiB beyond the input itself.
//!
//! A counting allocator would need unsafe code, so each input is scanned in a process of its own: this test runs itself
//! again, the child reads its peak resident set from `/proc/self/status`, and one that takes a minute is killed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a child tells its parent, a skipped test its reader")]

mod common;
#[path = "bypasses/table/mod.rs"]
#[allow(dead_code, reason = "the table has more in it than its samples")]
mod table;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use casemate_artifact::Scanner;
use casemate_artifact::weights::NumbersOnly;
use casemate_core::{Limits, MemorySource};

use crate::common::{Member, named, npy, pickle, safetensors, text, zip};

/// Bytes beyond the input that a scan may take.
const BEYOND_BYTES_MAX: u64 = 64 << 20;

/// What a scan may take, unoptimised; all but the largest inputs take a fraction of it.
const CPU_SECONDS_MAX: u64 = 60;

/// Names the file a child scans, and the name it goes by.
const INPUT: &str = "CASEMATE_BOUNDS_INPUT";

/// What a child measures. Does nothing when the test is run as a whole.
#[test]
fn child() {
    let Ok(path) = std::env::var(INPUT) else { return };
    let bytes = std::fs::read(&path).unwrap();
    let scan =
        Scanner::new(Limits::default()).with_weights(&NumbersOnly).scan(&path, Arc::new(MemorySource::new(bytes)));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("\nMEASURED {} {}", kib << 10, scan.verdict.as_str());
}

/// Peak bytes and verdict of a scan in a process of its own; `None` where the system does not tell.
fn measure(name: &str, bytes: &[u8]) -> Option<(u64, String)> {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: peak memory is read from /proc, which only Linux has");
        return None;
    }
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "bounds-{}-{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    ));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(INPUT, &path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        // Of its own time, so that a busy machine does not look like a slow scanner.
        if cpu_seconds(child.id()) > CPU_SECONDS_MAX {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{name}: scanning takes more than {CPU_SECONDS_MAX} CPU seconds");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(output.status.success(), "{name}: scanning ends with {}", output.status);
    let output = String::from_utf8(output.stdout).unwrap();
    let line = output.lines().find_map(|line| line.strip_prefix("MEASURED ")).unwrap();
    let (peak, verdict) = line.split_once(' ').unwrap();
    Some((peak.parse().unwrap(), verdict.into()))
}

/// What a process has used so far, in the hundredths of a second that Linux counts in.
fn cpu_seconds(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // User and system time are the 12th and 13th field behind the name, which ends with the last parenthesis.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() / 100
}

/// What scanning almost nothing takes.
static BASELINE: LazyLock<u64> = LazyLock::new(|| measure("baseline.pkl", b"\x80\x02N.").map_or(0, |(peak, _)| peak));

/// Scans `bytes` and gives the verdict.
fn assert_bounded(name: &str, bytes: &[u8]) -> String {
    let Some((peak, verdict)) = measure(name, bytes) else { return "unscannable".into() };
    let beyond = peak.saturating_sub(*BASELINE + bytes.len() as u64);
    assert!(
        beyond <= BEYOND_BYTES_MAX,
        "{name}: {} bytes of input take {} MiB beyond themselves",
        bytes.len(),
        beyond >> 20
    );
    verdict
}

/// Scans bytes that must not come out clean.
fn assert_refused(name: &str, bytes: &[u8]) {
    assert_ne!(assert_bounded(name, bytes), "clean", "{name}");
}

#[test]
fn values_of_pickles_are_bounded() {
    assert_refused("ten-million-nones.pkl", &pickle(&[&b"N".repeat(10_000_000)]));
    assert_refused("ten-million-marks.pkl", &pickle(&[&b"(".repeat(10_000_000)]));
    assert_bounded("nested-lists.pkl", &pickle(&[&b"]".repeat(200_000), &b"a".repeat(199_999)]));
    assert_bounded("doubling.pkl", &pickle(&[b"N\x85\x94", &b"2\x86\x94".repeat(40)]));
    assert_bounded("tuples.pkl", &pickle(&[b"(", &b"NNN\x87".repeat(2_500_000), b"t"]));
}

/// Those of the table whose point is what they cost, whole, changed in one place, and cut.
#[test]
fn costly_bypasses_and_their_mutants_are_bounded() {
    let costly = table::techniques().into_iter().filter(|technique| matches!(technique.number, 26 | 28..=33 | 61));
    for sample in costly.flat_map(|technique| technique.samples).filter(|sample| sample.bytes.len() < 3_000_000) {
        let (len, name) = (sample.bytes.len(), sample.name.as_str());
        let mut changed = sample.bytes.clone();
        changed[len / 3] ^= 0x10;
        for bytes in [&sample.bytes[..], &changed, &sample.bytes[..len * 2 / 3]] {
            assert_bounded(name, bytes);
        }
    }
}

#[test]
fn memos_of_pickles_are_bounded() {
    let puts = |index: &dyn Fn(u32) -> u32| {
        let puts: Vec<u8> = (0..500_000).flat_map(|i| [&b"r"[..], &index(i).to_le_bytes()].concat()).collect();
        pickle(&[b"N", &puts])
    };
    assert_bounded("memo-ascending.pkl", &puts(&|i| i));
    assert_bounded("memo-descending.pkl", &puts(&|i| 600_000 - i));
    assert_refused("memo-far.pkl", &puts(&|i| u32::MAX - i));
}

#[test]
fn constants_of_pickles_are_never_copied() {
    let long = [&b"B"[..], &(12u32 << 20).to_le_bytes(), &vec![0x41; 12 << 20], b"0N"].concat();
    assert_bounded("twelve-mib-popped.pkl", &pickle(&[&long]));
    assert_refused("one-tib-text.pkl", &pickle(&[b"\x8d", &(1u64 << 40).to_le_bytes(), b"x"]));
    assert_refused("digits.pkl", &[&b"\x80\x02L"[..], &b"9".repeat(2_000_000), b"L\n."].concat());
    let objects = [&b"B\x0a\0\0\0"[..], b"\x80\x04N.......0"].concat();
    assert_refused("nested-objects.pkl", &pickle(&[&objects.repeat(200_000), b"N"]));
}

#[test]
fn imports_and_calls_of_pickles_are_bounded() {
    let imports: String = (0..150_000).map(|i| format!("cos\na{i}\n0")).collect();
    assert_refused("imports.pkl", &pickle(&[imports.as_bytes(), b"N"]));
    // Sixty names of 60 KiB, each joined with each other: 100 MiB of names from 3.6 MiB.
    let long = |letter: &str, i: u32| [text(&format!("{letter}{i:0>60000}")), b"\x940".to_vec()].concat();
    let names: Vec<u8> = (0..30).flat_map(|i| long("m", i)).chain((0..30).flat_map(|i| long("n", i))).collect();
    let pairs: Vec<u8> = (0..30u8).flat_map(|m| (30..60u8).flat_map(move |n| [b'h', m, b'h', n, 0x93, b'0'])).collect();
    assert_refused("long-names.pkl", &pickle(&[&names, &pairs, b"N"]));
    // Each name is an attribute of the one before.
    let step = [&b"h\0h\x02h\x01\x86R\x94q\x020"[..]].concat();
    let start = [
        &named("builtins", "getattr")[..],
        b"q\0",
        &text(&"a".repeat(90)),
        b"q\x01",
        &named("torch", "Tensor"),
        b"q\x02",
    ];
    assert_refused("getattr-chain.pkl", &pickle(&[&start.concat(), &step.repeat(50_000)]));
    // Calls that differ in their arguments.
    let words: Vec<u8> = (0..200).flat_map(|i| [text(&format!("{i:0>100}")), b"\x940".to_vec()].concat()).collect();
    let callee = [&named("evil_package", "boot")[..], b"q\xf0"].concat();
    let calls: Vec<u8> = (0..100_000u32)
        .flat_map(|i| {
            let slot = |n: u32| u8::try_from(i / 200u32.pow(n) % 200).unwrap();
            [b'h', 0xf0, b'(', b'h', slot(0), b'h', slot(1), b'h', slot(2), b'h', 1, b'h', 2, b'h', 3, b't', b'R', b'0']
        })
        .collect();
    assert_refused("calls.pkl", &pickle(&[&words, &callee, &calls]));
    let streams: Vec<u8> = (0..64)
        .flat_map(|s| {
            let imports: String = (0..4000).map(|i| format!("cevil{s}\na{i}\n0")).collect();
            pickle(&[imports.as_bytes(), b"N"])
        })
        .collect();
    assert_refused("streams.pkl", &streams);
}

#[test]
fn archives_are_bounded() {
    assert_refused("bomb.zip", &zip(&[Member::zeros("a.bin", 200_000_000)]));
    let member = Member::zeros("a", 30_000_000);
    let many: Vec<_> =
        (0..600).map(|i| Member { name: format!("{i}"), local_name: format!("{i}"), ..member.clone() }).collect();
    assert_refused("many-bombs.zip", &zip(&many));
    let names: Vec<_> = (0..50_000).map(|i| Member::stored(&format!("{i:0>200}"), b"")).collect();
    assert_bounded("many-members.zip", &zip(&names));
}

fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn packed_files_in_packed_files_are_bounded() {
    assert_refused("bomb.gz", &gzip(&vec![0; 200_000_000], 9));
    // Five levels of 30 MB each: stored blocks pack as well as what they hold.
    let stored = (0..4).fold(vec![0; 30_000_000], |bytes, _| gzip(&bytes, 0));
    assert_refused("levels.gz", &gzip(&stored, 9));
    assert_refused("members.gz", &gzip(&vec![0; 20_000_000], 9).repeat(200));
}

#[test]
fn lying_lengths_cost_nothing() {
    assert_refused("header.safetensors", &[&(1u64 << 63).to_le_bytes()[..], b"{}"].concat());
    let gguf = [&b"GGUF\x03\0\0\0"[..], &(1u64 << 60).to_le_bytes(), &(1u64 << 60).to_le_bytes(), &[0; 64]].concat();
    assert_refused("counts.gguf", &gguf);
    let header = [&b"\x93NUMPY\x02\x00"[..], &0x8000_0000u32.to_le_bytes(), b"{}"].concat();
    assert_refused("header.npy", &header);
    let shape = "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }\n";
    assert_refused("shape.npy", &npy(shape, &[0; 8]));
}

#[test]
fn nesting_is_bounded() {
    // Graph, node, attribute, and a graph again.
    let tags = [0x0a, 0x2a, 0x32];
    let mut reversed: Vec<u8> = Vec::new();
    for level in (0..100_000).rev() {
        let mut len = reversed.len();
        let mut varint = Vec::new();
        while len >= 0x80 {
            varint.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
            len >>= 7;
        }
        varint.push(u8::try_from(len).unwrap());
        reversed.extend(varint.iter().rev());
        reversed.push(if level == 0 { 0x3a } else { tags[(level - 1) % 3] });
    }
    reversed.reverse();
    assert_refused("nested.onnx", &[&b"\x08\x08"[..], &reversed].concat());
    assert_refused("nested.json", &[b"[".repeat(100_000), b"]".repeat(100_000)].concat());
    let objects = [br#"{"a":"#.repeat(100_000), b"1".to_vec(), b"}".repeat(100_000)].concat();
    assert_refused("nested-objects.json", &objects);
    let header = String::from_utf8(objects).unwrap();
    assert_refused("nested.safetensors", &safetensors(&header, b""));
    assert_refused("nested.npy", &npy(&"(".repeat(60_000), b""));
}

#[test]
fn long_texts_are_bounded() {
    assert_bounded("long.jinja", "{{ a.b }}".repeat(10_000_000 / 9).as_bytes());
    let template = format!("{{\"chat_template\": \"{}\"}}", "{{ a.b }}".repeat(10_000_000 / 9));
    assert_bounded("tokenizer_config.json", template.as_bytes());
}

#[test]
fn documents_are_bounded() {
    let document =
        |declared: &str, inner: &str| format!("<!DOCTYPE PMML [{declared}]><PMML>{inner}</PMML>").into_bytes();
    let references = format!("<!ENTITY a 'x'><!ENTITY b '{}'>", "&a;".repeat(170_000));
    assert_refused("references.pmml", &document(&references, &"&b;".repeat(300_000)));
    assert_refused("entities.pmml", &document(&"<!ENTITY a SYSTEM '../x'>".repeat(100_000), ""));
    let attributes: String = (0..250).map(|n| format!(" a{n}=''")).collect();
    assert_bounded("attributes.pmml", &document("", &format!("<Extension{attributes}/>").repeat(1500)));
    let applied: String = (0..100_000).map(|n| format!("<Apply function='x-{n}'/>")).collect();
    assert_refused("functions.pmml", &document("", &applied));
    assert_bounded("nested.pmml", &document("", &"<Node>".repeat(400_000)));
}

#[test]
fn headers_of_7z_are_bounded() {
    let archive = |header: &[u8]| {
        let start =
            [&b"7z\xbc\xaf\x27\x1c\0\x04\0\0\0\0"[..], &[0; 8], &(header.len() as u64).to_le_bytes(), &[0; 4]].concat();
        [&start, header].concat()
    };
    // Folders of eight coders without a name, and as many as a header can hold.
    let folders =
        [&[1, 4, 7, 0x0b, 0xdf, 0xff, 0xff, 0][..], &[&[8][..], &[1, 0].repeat(8), &[0; 14]].concat().repeat(60_000)];
    assert_refused("folders.7z", &archive(&folders.concat()));
    let few =
        [&[1, 4, 7, 0x0b, 0xc0, 0, 0x40, 0][..], &[&[8][..], &[1, 0].repeat(8), &[0; 14]].concat().repeat(16_384)];
    assert_refused("coders.7z", &archive(&few.concat()));
    let entries = [&[1, 5, 0xc0, 0xff, 0xff, 0x11, 0xc2, 0, 0, 0][..], &[0; 131_071]].concat();
    assert_refused("entries.7z", &archive(&entries));
}

/// An HDF5 file whose root has these messages, and what follows it, made with the address it starts at.
fn hdf5(messages: &[(u8, Vec<u8>)], rest: &dyn Fn(u64) -> Vec<u8>) -> Vec<u8> {
    let body: Vec<u8> = messages
        .iter()
        .flat_map(|(kind, data)| {
            let len = u16::try_from(data.len()).unwrap().to_le_bytes();
            [&[*kind][..], &len, &[0], data].concat()
        })
        .collect();
    let root = [&b"OHDR\x02\x02"[..], &u32::try_from(body.len()).unwrap().to_le_bytes(), &body, &[0; 4]].concat();
    let rest = rest(48 + root.len() as u64);
    let end = 48 + (root.len() + rest.len()) as u64;
    let addresses = [0, u64::MAX, end, 48].map(u64::to_le_bytes).concat();
    [b"\x89HDF\r\n\x1a\n", &[2, 8, 8, 0][..], &addresses, &[0; 4], &root, &rest].concat()
}

#[test]
fn structures_of_hdf5_are_bounded() {
    // A thousand texts that all point at the same fifteen megabytes, which begin with a NUL.
    let text = 15u64 << 20;
    let root_bytes: u64 = 48 + 14 + 4 + 3 + 6 + 2 + 8 + 12 + 16 * 1000;
    let pointer = [&1u32.to_le_bytes()[..], &root_bytes.to_le_bytes(), &1u32.to_le_bytes()].concat();
    let head = [&[3, 0][..], &[2, 0, 8, 0, 12, 0], &[0], b"a\0", &[0x19, 1, 0, 0, 16, 0, 0, 0]].concat();
    let space = [&[2, 1, 0, 1][..], &1000u64.to_le_bytes()].concat();
    let attribute = [head, space, pointer.repeat(1000)].concat();
    let heap = |start: u64| {
        assert_eq!(start, root_bytes, "the heap stands where the texts point");
        let object = [&1u64.to_le_bytes()[..], &text.to_le_bytes()].concat();
        [&b"GCOL\x01\0\0\0"[..], &(text + 48).to_le_bytes(), &object, &vec![0; 15 << 20], &[0; 16]].concat()
    };
    assert_bounded("overlapping-texts.h5", &hdf5(&[(0xc, attribute)], &heap));
    // Chunks of one byte, the last first.
    let layout = [&[3, 2, 1][..], &70u64.to_le_bytes()].concat();
    let node = |start: u64| {
        let entry =
            |i: u64| [&[1, 0, 0, 0, 0, 0, 0, 0][..], &[0; 8], &(start + 2_000_000 - 2 * i).to_le_bytes()].concat();
        let entries: Vec<u8> = (0..65_535).flat_map(entry).collect();
        [&b"TREE\x01\0\xff\xff"[..], &[0xff; 16], &entries, &[1; 1_000_000]].concat()
    };
    let mut chunks = hdf5(&[(8, layout)], &node);
    let tree = u64::try_from(chunks.windows(4).position(|window| window == b"TREE").unwrap()).unwrap();
    let at = chunks.windows(8).position(|window| window == 70u64.to_le_bytes()).unwrap();
    chunks[at..at + 8].copy_from_slice(&tree.to_le_bytes());
    assert_refused("chunks.h5", &chunks);
    // A header that goes on in four thousand places, each as long as the file.
    let target =
        |start: u64| (0..3000u64).flat_map(move |i| [(start + i).to_le_bytes(), 8_000_000u64.to_le_bytes()].concat());
    let go_on: Vec<(u8, Vec<u8>)> = target(60_100).collect::<Vec<_>>().chunks(16).map(|c| (0x10, c.to_vec())).collect();
    assert_refused("continuations.h5", &hdf5(&go_on, &|_| vec![0; 9_000_000]));
    let object = r#"{"class_name":"a","config":0},"#;
    let config = format!("[{}0]", object.repeat(300_000));
    assert_refused("config.json", config.as_bytes());
}

#[test]
fn objects_of_r_and_lua_are_bounded() {
    let r = |items: &[u8]| [&b"X\n\0\0\0\x02\0\x04\x03\x03\0\x02\x03\0"[..], items].concat();
    assert_refused("nested.rds", &r(&b"\0\0\0\x13\0\0\0\x02".repeat(1_000_000)));
    // Every second item is one that later items may refer to.
    let list = [&b"\0\0\0\x13\0\x1e\x84\x80"[..], &b"\0\0\0\x17".repeat(2_000_000)].concat();
    assert_refused("references.rds", &r(&list));
    let symbols: Vec<u8> =
        (0..500_000u32).flat_map(|n| [&b"\0\0\0\x01\0\0\0\x09\0\0\0\x04"[..], &n.to_be_bytes()].concat()).collect();
    assert_bounded("symbols.rds", &r(&[&b"\0\0\0\x13\0\x07\xa1\x20"[..], &symbols].concat()));
    assert_bounded("numbers.rds", &[&b"A\n2\n263171\n131840\n13\n5000000\n"[..], &b"1\n".repeat(5_000_000)].concat());
    let tables: Vec<u8> =
        (2..1_000_000u32).flat_map(|n| [&b"\x03\0\0\0"[..], &n.to_le_bytes(), &[0; 4]].concat()).collect();
    let begin = b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\x02\0\0\0nn\x03\0\0\0\x01\0\0\0\x20\xa1\x07\0";
    assert_bounded("tables.t7", &[&begin[..], &tables].concat());
}

#[test]
fn values_of_messagepack_are_bounded() {
    let map = |n: u32, entries: &[u8]| [&b"\x81\xa1a\xdf"[..], &n.to_be_bytes(), entries].concat();
    let keys: Vec<u8> = (0..2_000_000u32).flat_map(|n| [&[0xce][..], &n.to_be_bytes(), &[0xc0]].concat()).collect();
    assert_refused("keys.msgpack", &map(2_000_000, &keys));
    assert_refused("nested.msgpack", &[&b"\x81\xa1a"[..], &[0x91].repeat(100_000)].concat());
    let values = [&b"\x81\xa1a\xdd\0\x2d\xc6\xc0"[..], &b"\xc4\x02MZ".repeat(3_000_000)].concat();
    assert_refused("values.msgpack", &values);
    assert_refused("array32.msgpack", b"\x81\xa1a\xdd\xff\xff\xff\xff");
}
