//! TensorRT engine plans: compiled for one GPU and readable by TensorRT alone, so never judged, only looked into.
//!
//! A plan can carry plugin libraries and TensorRT's own runtime, code of the host that runs when the plan is loaded with
//! `engine_host_code_allowed`; it can name libraries its plugins come from. Both are looked for in the bytes. Programs for
//! the GPU, ELF files too, are what a plan consists of.
//!
//! Source: NVIDIA's TensorRT developer guide, on version compatibility and plugin shared libraries. The format of plans is
//! not published; their magic numbers are what other readers of them go by.

use std::collections::BTreeSet;
use std::sync::Arc;

use casemate_core::{RangeSource, SourceExt};

use super::reading::{u16_le, u32_le, u64_le, unreadable};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Child, Malformed, Operator, Parsed, Probe, Role, Trouble};

/// Recognises engine plans.
pub(crate) struct Tensorrt;

/// Domain of libraries a plan names.
pub(crate) const LIBRARY: &str = "tensorrt.library";

const MAGICS: [&[u8]; 2] = [b"ptrt", b"ftrt"];
/// A plan is looked into so far; more is weights.
const SEARCHED_BYTES_MAX: u64 = 256 << 20;
const CHUNK_BYTES: u64 = 1 << 20;
/// Chunks overlap by what a name or the head of a program takes.
const OVERLAP_BYTES: usize = 512;
const NAME_BYTES_MAX: usize = 128;
const FOUND_MAX: usize = 100;
/// Machines in the head of an ELF file on which TensorRT's host runs: x86-64 and aarch64.
const HOSTS: [u16; 2] = [62, 183];

impl Format for Tensorrt {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "tensorrt",
            title: "TensorRT engine plan",
            extensions: &["engine", "plan", "trt"],
            runs_code: true,
            is_model: true,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        // A version of a few bits follows; prose does not.
        let version = u32_le(&probe.head, 4).is_some_and(|version| version < 1 << 16);
        match MAGICS.iter().any(|magic| probe.starts_with(magic)) && version {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        parsed.claims.add(0..object.source.size_bytes());
        let what = "a plan is compiled for TensorRT, which alone can read it";
        parsed.report(object.limits, Malformed::new(Trouble::Undecodable, 0, what));
        let mut names = BTreeSet::new();
        let end = object.source.size_bytes().min(SEARCHED_BYTES_MAX);
        let mut at = 0;
        while at < end {
            let bytes = match object.source.bytes_at(at, CHUNK_BYTES) {
                Ok(bytes) if !bytes.is_empty() => bytes,
                Ok(_) => break,
                Err(error) => {
                    parsed.report(object.limits, unreadable(&error, at));
                    break;
                }
            };
            libraries(&bytes, &mut names);
            programs(&bytes, at, object, &mut parsed);
            // The last chunk has nothing behind it to overlap with.
            let step = if (bytes.len() as u64) < CHUNK_BYTES { bytes.len() } else { bytes.len() - OVERLAP_BYTES };
            at += step as u64;
        }
        parsed.operators.extend(names.into_iter().map(|name| Operator { domain: LIBRARY.into(), name }));
        parsed
    }
}

/// Notes the names of shared libraries that are not of NVIDIA or the system.
fn libraries(bytes: &[u8], names: &mut BTreeSet<String>) {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-+/\\".contains(byte);
    for (n, window) in bytes.windows(4).enumerate() {
        let ends = |byte: u8| !byte.is_ascii_alphanumeric();
        let len = match window {
            [b'.', b's', b'o', next] if ends(*next) => 3,
            [b'.', b'd', b'l', b'l'] if bytes.get(n + 4).is_none_or(|next| ends(*next)) => 4,
            _ => continue,
        };
        let before = bytes.get(..n).unwrap_or_default().iter().rev().take(NAME_BYTES_MAX);
        let start = n - before.take_while(|byte| is_name(byte)).count();
        let name = String::from_utf8_lossy(bytes.get(start..n + len).unwrap_or_default()).into_owned();
        let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
        if names.len() < FOUND_MAX && base.len() > len + 2 && !KNOWN.iter().any(|known| base.starts_with(known)) {
            names.insert(name);
        }
    }
}

/// Beginnings of the names of libraries that come with TensorRT, CUDA or the system.
const KNOWN: [&str; 27] = [
    "libnvinfer",
    "libnvonnxparser",
    "libnvrtc",
    "libnvidia",
    "libnvToolsExt",
    "libnvJitLink",
    "nvinfer",
    "nvrtc",
    "libcuda",
    "libcudart",
    "libcublas",
    "libcudnn",
    "libcufft",
    "libcurand",
    "cudart64",
    "cublas",
    "cudnn",
    "libc.",
    "libm.",
    "libdl.",
    "librt.",
    "libpthread.",
    "libutil.",
    "libstdc++.",
    "libgcc_s.",
    "ld-linux",
    "kernel32.",
];

/// Hands on the programs for the host.
fn programs(bytes: &[u8], at: u64, object: &Object<'_>, parsed: &mut Parsed) {
    for (n, window) in bytes.windows(6).enumerate() {
        let rest = bytes.get(n..).unwrap_or_default();
        let host = window == b"\x7fELF\x02\x01" && u16_le(rest, 18).is_some_and(|machine| HOSTS.contains(&machine));
        let start = at + n as u64;
        if !host || parsed.children.len() >= FOUND_MAX || parsed.children.iter().any(|child| child.name == name(start))
        {
            continue;
        }
        // The table of sections stands last.
        let table = u64_le(rest, 40).zip(u16_le(rest, 58).zip(u16_le(rest, 60)));
        let len = table.and_then(|(table, (each, n))| table.checked_add(u64::from(each) * u64::from(n)));
        let source = RangeSource::new(Arc::clone(object.source), start, len.unwrap_or(u64::MAX));
        parsed.children.push(Child { name: name(start), source: Arc::new(source), role: Role::Any });
    }
}

fn name(start: u64) -> String {
    format!("program@{start}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::testing::{any_bytes, assert_bounded, hidden, mutants, parse, sniff, troubles};

    fn plan(inside: &[u8]) -> Vec<u8> {
        [&b"ftrt\xa0\0\0\0\x01\0\0\0\0\0\0\0"[..], inside, &[0x5a; 64]].concat()
    }

    fn elf(machine: u8) -> Vec<u8> {
        let mut head = [0; 64];
        head[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        (head[16], head[18], head[20], head[52]) = (3, machine, 1, 64);
        head.to_vec()
    }

    #[test]
    fn plans_are_recognised_and_never_judged() {
        let parsed = parse(&Tensorrt, &plan(b"weights"));
        assert_eq!(sniff(&Tensorrt, &plan(b"")), Sniff::Certain);
        assert_eq!((troubles(&parsed), hidden(&parsed, &plan(b"weights")).len()), (vec![Trouble::Undecodable], 0));
        assert!(parsed.children.is_empty() && parsed.operators.is_empty());
        for other in [&b"ptrt words"[..], b"ptr", b"", b"trtp\0\0\0\0"] {
            assert_eq!(sniff(&Tensorrt, other), Sniff::No);
        }
    }

    #[test]
    fn libraries_that_are_not_nvidias_are_named() {
        let inside = b"\0/opt/x/libmine.so\0libnvinfer_plugin.so.10\0libcustom.so\0.so\0other.sources\0C:\\p\\mine.dll\0libc.so.6\0";
        let names = parse(&Tensorrt, &plan(inside)).operators;
        assert_eq!(
            names.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(),
            ["/opt/x/libmine.so", "\\p\\mine.dll", "libcustom.so"]
        );
    }

    #[test]
    fn programs_of_the_host_are_handed_on_and_those_of_the_gpu_are_not() {
        assert!(parse(&Tensorrt, &plan(&elf(190))).children.is_empty());
        // One across the border of two chunks.
        for before in [0, (1 << 20) - 200] {
            let bytes = plan(&[vec![0; before], elf(62)].concat());
            let parsed = parse(&Tensorrt, &bytes);
            assert_eq!(parsed.children.iter().map(|c| c.name.clone()).collect::<Vec<_>>(), [name(before as u64 + 16)]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"ptrt\x01\0\0\0")) {
            assert_bounded(&Tensorrt, &bytes);
        }

        #[test]
        fn mutants_are_parsed_within_limits(bytes in mutants(plan(&elf(62)))) {
            assert_bounded(&Tensorrt, &bytes);
        }
    }
}
