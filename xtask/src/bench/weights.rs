//! `cargo xtask bench weights`: digest and statistics of every tensor, beside a digest alone and beside NumPy.
//!
//! The file is 1 GiB of safetensors, 64 tensors of 4,096 rows, in each of the types that models come in.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::{built_casemate, peer, row};
use crate::test::ensure_program;
use crate::tree::Tree;

const TENSORS: u64 = 64;
const TENSOR_BYTES: u64 = 16 << 20;

/// Digest, range, mean, norm, zeros and what is not finite of each tensor: what the table holds, as one would write it.
const NUMPY: &str = r#"
import hashlib, json, struct, sys
import numpy as np
data = np.memmap(sys.argv[1], mode='r')
n = struct.unpack('<Q', data[:8].tobytes())[0]
header = json.loads(data[8:8 + n].tobytes())
types = {'F32': np.float32, 'F16': np.float16}
for name, tensor in header.items():
    start, end = tensor['data_offsets']
    raw = data[8 + n + start:8 + n + end]
    x = raw.view(types[tensor['dtype']])
    finite = np.isfinite(x)
    nan, infinite = np.isnan(x).sum(), np.isinf(x).sum()
    y = x if finite.all() else x[finite]
    wide = y.astype(np.float64)
    rows = np.sqrt((wide.reshape(tensor['shape']) ** 2).sum(axis=1)) if finite.all() else None
    facts = (hashlib.sha256(raw).hexdigest(), y.min(), y.max(), wide.mean(), np.sqrt((wide * wide).sum()), nan, infinite,
             (y == 0).mean())
"#;

pub(super) fn run(tree: &Tree) -> Result<()> {
    ensure_program("/usr/bin/time", "time")?;
    ensure_program("python3", "python3")?;
    ensure_program("openssl", "openssl")?;
    let casemate = built_casemate(tree)?;
    let work = tree.root.join("target/bench");
    std::fs::create_dir_all(&work)?;
    let numpy = peer(&work, "numpy-config", &["numpy==2.4.6"]);
    let python = numpy.map(|path| Path::new(&path).with_file_name("python3").display().to_string());
    println!("{:<40} {:>12} {:>12} {:>9} {:>12} {:>9}", "", "casemate", "peer", "ratio", "casemate", "peer");
    println!(
        "{:<40} {:>12} {:>12} {:>9} {:>12} {:>9}",
        "whole processes, least of runs", "CPU s", "CPU s", "", "peak KiB", "peak KiB"
    );
    for (dtype, bytes) in [("F32", 4), ("F16", 2), ("BF16", 2), ("I8", 1)] {
        let file = input(&work, dtype, bytes)?.display().to_string();
        let openssl = ["openssl", "dgst", "-sha256", file.as_str()];
        let scan = [casemate.as_str(), "scan", "-q", "--no-record"];
        let tensors = [&scan[..], &["--no-hash", "--weights", &file]].concat();
        row(&format!("{dtype}: tensors, openssl the file"), 3, &tensors, &openssl)?;
        let both = [&scan[..], &["--weights", &file]].concat();
        row(&format!("{dtype}: tensors and file, openssl the file"), 3, &both, &openssl)?;
        match python.as_deref().filter(|_| dtype.starts_with('F')) {
            Some(python) => {
                row(&format!("{dtype}: tensors, NumPy the same"), 3, &tensors, &[python, "-c", NUMPY, &file])?
            }
            None => println!("{dtype}: NumPy is not installed, or has no such type"),
        }
        std::fs::remove_file(&file)?;
    }
    println!(
        "\n1 GiB in {TENSORS} tensors; CPU seconds of all threads. Ours: SHA-256, range, mean, norm, norm of each row,"
    );
    println!(
        "zeros and what is not finite, of every tensor. openssl: SHA-256 of the whole file. NumPy: as ours, in float64."
    );
    Ok(())
}

/// A file of small numbers around zero: random bits under an exponent below one.
fn input(work: &Path, dtype: &str, bytes: u64) -> Result<PathBuf> {
    let path = work.join(format!("weights-{dtype}.safetensors"));
    let columns = TENSOR_BYTES / 4096 / bytes;
    let tensors: Vec<String> = (0..TENSORS)
        .map(|n| {
            let (start, end) = (n * TENSOR_BYTES, (n + 1) * TENSOR_BYTES);
            format!(r#""t{n}":{{"dtype":"{dtype}","shape":[4096,{columns}],"data_offsets":[{start},{end}]}}"#)
        })
        .collect();
    let header = format!("{{{}}}", tensors.join(","));
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()
    };
    let mut tensor = Vec::new();
    while (tensor.len() as u64) < TENSOR_BYTES {
        let [sign, exponent, a, b, ..] = next();
        match dtype {
            "F32" => tensor.extend([a, b, exponent, 0x3c | sign & 0x80]),
            "F16" => tensor.extend([a, 0x20 | exponent & 0x0f | sign & 0x80]),
            "BF16" => tensor.extend([a, 0x3c | sign & 0x80]),
            _ => tensor.push(a),
        }
    }
    ensure!(tensor.len() as u64 == TENSOR_BYTES, "a tensor is no whole number of elements");
    let mut file = BufWriter::new(File::create(&path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for _ in 0..TENSORS {
        file.write_all(&tensor)?;
    }
    file.flush()?;
    Ok(path)
}
