//! `cargo xtask bench scan`: four inputs, and what each scanner takes for them.
//!
//! A peer may skip what it does not know, or stop at the first finding: its figure is then that of doing less. A digest of every
//! file is part of our ordinary run, so the rows without it stand beside.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow, ensure};

use super::{Cost, built_casemate, cost, peer};
use crate::test::ensure_program;
use crate::tree::Tree;

/// Longest wait for one process of a peer: modelaudit takes minutes where others take a second.
const PEER_SECONDS_MAX: u32 = 300;

/// Processes that a start-up is the mean of: the clock counts in hundredths of a second.
const STARTS: u32 = 20;

/// The peers, each in an environment of its own: what is installed, and the words before a path.
/// modelaudit takes minutes for 1,000 files.
const PEERS: &[(&str, &[&str], &[&str])] = &[
    ("picklescan", &["picklescan==1.0.5"], &["-p"]),
    ("modelscan", &["modelscan==0.8.8"], &["scan", "-p"]),
    // Its package forgets to ask for typing_extensions.
    ("fickling", &["fickling==0.1.12", "typing_extensions"], &["--check-safety"]),
    ("modelaudit", &["modelaudit==0.2.54"], &["scan"]),
];

/// Prints the table.
///
/// # Errors
/// When a tool is missing and cannot be installed, or our own scan does not end as expected.
pub fn run(tree: &Tree) -> Result<()> {
    ensure_program("/usr/bin/time", "time")?;
    ensure_program("python3", "python3")?;
    ensure_program("openssl", "openssl")?;
    let casemate = built_casemate(tree)?;
    let work = tree.root.join("target/bench");
    std::fs::create_dir_all(&work)?;
    let inputs = inputs(&work)?;
    let peers: Vec<(&str, Vec<String>)> = (PEERS.iter())
        .filter_map(|(name, install, words)| {
            let program = peer(&work, name, install)?;
            Some((*name, [program].into_iter().chain(words.iter().map(|word| (*word).to_owned())).collect()))
        })
        .collect();
    println!("{:<36} {:>10} {:>10} {:>12}", "", "CPU s", "peak MiB", "to casemate");
    for (what, path, starts) in [
        ("one small pickle, start-up", &inputs.small, STARTS),
        ("1,000 small pickles", &inputs.many, 1),
        ("1 GiB torch zip", &inputs.torch, 1),
        ("1 GiB safetensors", &inputs.big, 1),
    ] {
        println!("{what}");
        let own = |flags: &[&str]| {
            measure(&[&[casemate.as_str(), "scan", "-q", "--no-record"], flags, &[path]].concat(), starts)
        };
        let ours = own(&[])?;
        print(&Row { tool: "casemate", cost: ours, code: 0, note: "with SHA-256 of every file" }, ours);
        print(&Row { tool: "casemate --no-hash", cost: own(&["--no-hash"])?, code: 0, note: "" }, ours);
        for (name, words) in &peers {
            if *name == "fickling" && path == &inputs.many {
                println!("  {name:<34} {:>10}   reads one file a process", "-");
                continue;
            }
            let limit = PEER_SECONDS_MAX.to_string();
            let mut command = vec!["timeout", limit.as_str()];
            command.extend(words.iter().map(String::as_str).chain([path.as_str()]));
            let starts = starts.min(3);
            let (cost, code) = repeated(&command, starts)?;
            let note = if code == TIMED_OUT { "stopped, it would take longer" } else { "" };
            print(&Row { tool: name, cost, code, note }, ours);
        }
        if path == &inputs.big {
            let cost = measure(&["openssl", "dgst", "-sha256", path], 1)?;
            print(&Row { tool: "openssl dgst -sha256", cost, code: 0, note: "reads, and hashes, nothing else" }, ours);
        }
    }
    let versions: Vec<&str> = PEERS.iter().filter_map(|(_, install, _)| install.first().copied()).collect();
    println!("\npeers: {}", versions.join(", "));
    Ok(())
}

/// Exit code of `timeout` when it had to stop the process.
const TIMED_OUT: i32 = 124;

struct Row<'a> {
    tool: &'a str,
    cost: Cost,
    code: i32,
    note: &'a str,
}

fn print(row: &Row<'_>, ours: Cost) {
    let ratio = row.cost.cpu_seconds.max(0.0001) / ours.cpu_seconds.max(0.0001);
    let exit = if row.code == 0 { String::new() } else { format!("exits {} ", row.code) };
    #[expect(clippy::cast_precision_loss, reason = "peaks of processes, in KiB")]
    let peak = row.cost.peak_kib as f64 / 1024.0;
    println!("  {:<34} {:>10.4} {peak:>10.1} {ratio:>11.2}× {exit}{}", row.tool, row.cost.cpu_seconds, row.note);
}

/// Our own scan: harmless files have to pass it. The least of three, since the first may read from the disk.
fn measure(command: &[&str], starts: u32) -> Result<Cost> {
    let mut best: Option<Cost> = None;
    for _ in 0..3 {
        let (cost, code) = repeated(command, starts)?;
        ensure!(code == 0, "{command:?} ended with {code}");
        best = Some(best.map_or(cost, |best| best.least(cost)));
    }
    best.ok_or_else(|| anyhow!("nothing was run"))
}

/// What one process of `command` takes: the mean of `starts` of them under one clock.
fn repeated(command: &[&str], starts: u32) -> Result<(Cost, i32)> {
    let count = starts.to_string();
    let script = r#"n=$1; shift; while [ "$n" -gt 1 ]; do "$@" >/dev/null 2>&1; n=$((n - 1)); done; exec "$@""#;
    let shell = ["sh", "-c", script, "sh", count.as_str()];
    let (whole, code) = cost(&if starts > 1 { [&shell[..], command].concat() } else { command.to_vec() })?;
    let each = |seconds: f64| seconds / f64::from(starts);
    let (cpu_seconds, wall_seconds) = (each(whole.cpu_seconds), each(whole.wall_seconds));
    Ok((Cost { cpu_seconds, wall_seconds, ..whole }, code))
}

struct Inputs {
    small: String,
    many: String,
    big: String,
    torch: String,
}

/// Ordinary files of the sizes named in the goals, written once.
fn inputs(work: &Path) -> Result<Inputs> {
    let many = work.join("many");
    let small = many.join("0.pkl");
    if !small.exists() {
        std::fs::create_dir_all(&many)?;
        for n in 0..1000u32 {
            let mut bytes = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
            for key in 0..100u32 {
                bytes.extend(format!("X\x08\0\0\0key{:05}", n * 7 + key).into_bytes());
                bytes.extend([b'J'].into_iter().chain(key.to_le_bytes()));
            }
            bytes.extend(b"u.");
            std::fs::write(many.join(format!("{n}.pkl")), bytes)?;
        }
    }
    let big = work.join("big.safetensors");
    if !big.exists() {
        let size = 1u64 << 30;
        let header = format!("{{\"w\":{{\"dtype\":\"U8\",\"shape\":[{size}],\"data_offsets\":[0,{size}]}}}}");
        let mut file = BufWriter::new(File::create(&big)?);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        let block: Vec<u8> = (0..1u32 << 20).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        for _ in 0..size >> 20 {
            file.write_all(&block)?;
        }
        file.flush()?;
    }
    let torch = work.join("big.pt");
    if !torch.exists() {
        let status = Command::new("python3").args(["-c", TORCH_ZIP]).arg(&torch).arg(&big).status()?;
        ensure!(status.success(), "python3 cannot write {}", torch.display());
    }
    let text = |path: PathBuf| path.display().to_string();
    Ok(Inputs { small: text(small), many: text(many), big: text(big), torch: text(torch) })
}

/// Writes the archive torch would write for one tensor of 1 GiB: stored members, the tensor in one of them.
const TORCH_ZIP: &str = r#"
import shutil, sys, zipfile
pickle = (b'\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nByteStorage\n'
          b'X\x01\0\0\x000X\x03\0\0\0cpuJ\0\0\0@tQK\0J\0\0\0@\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs.')
with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_STORED) as archive:
    archive.writestr('big/data.pkl', pickle)
    with archive.open(zipfile.ZipInfo('big/data/0'), 'w', force_zip64=True) as member, open(sys.argv[2], 'rb') as source:
        source.seek(-(1 << 30), 2)
        shutil.copyfileobj(source, member, 1 << 20)
    archive.writestr('big/version', b'3\n')
"#;
