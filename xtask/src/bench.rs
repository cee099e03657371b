//! `cargo xtask bench scan`: the scanner beside the tools a user would pick instead, in one run, as ratios.
//!
//! CPU seconds and peak memory are the operating system's own accounting of whole processes (GNU time); the smallest of
//! several runs is printed, since other load can only add. Nothing here is asserted: these machines are noisy.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::test::ensure_program;
use crate::tree::Tree;

/// The peer that reads pickles; others join with the formats they read.
const PICKLESCAN: &str = "picklescan==1.0.5";

/// What one process took, the least of several runs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu_seconds: f64,
    peak_kib: u64,
}

/// Runs the benchmark named in `arguments`.
///
/// # Errors
/// When a tool is missing and cannot be installed, or a scan does not end as expected.
pub fn run(tree: &Tree, arguments: &[String]) -> Result<ExitCode> {
    match arguments {
        [name] if name == "scan" => scan(tree).map(|()| ExitCode::SUCCESS),
        _ => bail!("which benchmark? there is `scan`"),
    }
}

fn scan(tree: &Tree) -> Result<()> {
    ensure_program("/usr/bin/time", "time")?;
    ensure_program("python3", "python3")?;
    ensure_program("openssl", "openssl")?;
    let casemate = built_casemate(tree)?;
    let work = tree.root.join("target/bench");
    std::fs::create_dir_all(&work)?;
    let picklescan = picklescan(&work)?;
    let inputs = inputs(&work)?;

    println!("{:<34} {:>12} {:>12} {:>9} {:>12} {:>9}", "", "casemate", "peer", "ratio", "casemate", "peer");
    println!(
        "{:<34} {:>12} {:>12} {:>9} {:>12} {:>9}",
        "whole processes, least of runs", "CPU s", "CPU s", "", "peak KiB", "peak KiB"
    );
    let small = &inputs.small;
    let many = &inputs.many;
    let big = &inputs.big;
    row(
        "start-up, one small pickle",
        15,
        &[&casemate, "scan", small, "-q", "--no-record"],
        &[&picklescan, "-p", small],
    )?;
    row("1,000 small pickles", 3, &[&casemate, "scan", many, "-q", "--no-record"], &[&picklescan, "-p", many])?;
    let openssl = ["openssl", "dgst", "-sha256", big];
    row("1 GiB safetensors, header only", 3, &[&casemate, "scan", big, "-q", "--no-hash"], &openssl)?;
    row("1 GiB safetensors, with digest", 3, &[&casemate, "scan", big, "-q", "--no-record"], &openssl)?;
    println!("\npeers: {PICKLESCAN} for pickles, `openssl dgst -sha256` of the same file for safetensors");
    Ok(())
}

/// Builds the program and returns its path.
///
/// # Errors
/// When it does not build.
pub fn built_casemate(tree: &Tree) -> Result<String> {
    let status = Command::new("cargo")
        .args(["build", "--release", "--quiet", "-p", "casemate"])
        .current_dir(&tree.root)
        .status()?;
    ensure!(status.success(), "casemate does not build");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| tree.root.join("target"), PathBuf::from);
    Ok(target.join("release/casemate").display().to_string())
}

struct Inputs {
    small: String,
    many: String,
    big: String,
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
    let text = |path: PathBuf| path.display().to_string();
    Ok(Inputs { small: text(small), many: text(many), big: text(big) })
}

/// Installs the peer in an environment of its own and returns its command.
fn picklescan(work: &Path) -> Result<String> {
    let command = work.join("venv/bin/picklescan");
    if !command.exists() {
        println!("installing {PICKLESCAN} for comparison");
        let quiet = |program: &Path, arguments: &[&str]| -> Result<()> {
            let status = Command::new(program).args(arguments).stdout(Stdio::null()).status().context("python")?;
            ensure!(status.success(), "`{} {}` failed", program.display(), arguments.join(" "));
            Ok(())
        };
        let environment = work.join("venv").display().to_string();
        quiet(Path::new("python3"), &["-m", "venv", &environment])?;
        quiet(&work.join("venv/bin/pip"), &["install", "--quiet", "--disable-pip-version-check", PICKLESCAN])?;
    }
    Ok(command.display().to_string())
}

fn row(what: &str, runs: usize, ours: &[&str], peer: &[&str]) -> Result<()> {
    let mut best: [Option<Cost>; 2] = [None, None];
    // In turn, so that a drift of the machine meets both.
    for _ in 0..runs {
        for (best, command) in best.iter_mut().zip([ours, peer]) {
            let cost = cost(command)?;
            *best = Some(best.map_or(cost, |known| Cost {
                cpu_seconds: known.cpu_seconds.min(cost.cpu_seconds),
                peak_kib: known.peak_kib.min(cost.peak_kib),
            }));
        }
    }
    let [Some(ours), Some(peer)] = best else { bail!("nothing was run") };
    let ratio = ours.cpu_seconds.max(0.001) / peer.cpu_seconds.max(0.001);
    println!(
        "{what:<34} {:>12.3} {:>12.3} {ratio:>8.3}× {:>12} {:>9}",
        ours.cpu_seconds, peer.cpu_seconds, ours.peak_kib, peer.peak_kib
    );
    Ok(())
}

/// What one run of `command` took. GNU time counts in hundredths of a second.
fn cost(command: &[&str]) -> Result<Cost> {
    let output = Command::new("/usr/bin/time")
        .args(["-f", "TIMES %U %S %M"])
        .args(command)
        .stdout(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.strip_prefix("TIMES ")).context("no figures from time")?;
    let mut words = line.split_whitespace();
    let mut seconds = || words.next().and_then(|word| word.parse::<f64>().ok()).context("figures of time");
    let cpu_seconds = seconds()? + seconds()?;
    let peak_kib = words.next().and_then(|word| word.parse().ok()).context("peak of time")?;
    ensure!(output.status.success(), "{command:?} ended with {}: {text}", output.status);
    Ok(Cost { cpu_seconds, peak_kib })
}
