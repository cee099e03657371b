//! `cargo xtask bench scan`, `… weights`, `… seal`: the product beside the tools a user would pick instead, in one run, as ratios.
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

mod provenance {
    pub mod seal;
}
mod weights;

/// The peers, each in an environment of its own: what is installed, and the words before a path.
/// modelaudit takes minutes for 1,000 files.
const PEERS: &[(&str, &[&str], &[&str])] = &[
    ("picklescan", &["picklescan==1.0.5"], &["-p"]),
    ("modelscan", &["modelscan==0.8.8"], &["scan", "-p"]),
    // Its package forgets to ask for typing_extensions.
    ("fickling", &["fickling==0.1.12", "typing_extensions"], &["--check-safety"]),
    ("modelaudit", &["modelaudit==0.2.54"], &["scan"]),
];

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
        [name] if name == "weights" => weights::run(tree).map(|()| ExitCode::SUCCESS),
        [name] if name == "seal" => provenance::seal::run(tree).map(|()| ExitCode::SUCCESS),
        _ => bail!("which benchmark? there are `scan`, `seal` and `weights`"),
    }
}

fn scan(tree: &Tree) -> Result<()> {
    ensure_program("/usr/bin/time", "time")?;
    ensure_program("python3", "python3")?;
    ensure_program("openssl", "openssl")?;
    let casemate = built_casemate(tree)?;
    let work = tree.root.join("target/bench");
    std::fs::create_dir_all(&work)?;
    let inputs = inputs(&work)?;

    println!("{:<40} {:>12} {:>12} {:>9} {:>12} {:>9}", "", "casemate", "peer", "ratio", "casemate", "peer");
    println!(
        "{:<40} {:>12} {:>12} {:>9} {:>12} {:>9}",
        "whole processes, least of runs", "CPU s", "CPU s", "", "peak KiB", "peak KiB"
    );
    let scan = [casemate.as_str(), "scan", "-q", "--no-record"];
    for (name, install, words) in PEERS {
        let Some(program) = peer(&work, name, install) else { continue };
        let peer: Vec<&str> = [program.as_str()].into_iter().chain(words.iter().copied()).collect();
        let compare = |what: &str, runs: usize, path: &str| {
            row(&format!("{name}: {what}"), runs, &[&scan[..], &[path]].concat(), &[&peer[..], &[path]].concat())
        };
        compare("start-up, one small pickle", 5, &inputs.small)?;
        match *name {
            "fickling" => println!("fickling: 1,000 small pickles        it reads one file a process"),
            _ => compare("1,000 small pickles", 1, &inputs.many)?,
        }
        compare("1 GiB torch zip", 1, &inputs.torch)?;
        compare("1 GiB safetensors", 1, &inputs.big)?;
    }
    let openssl = ["openssl", "dgst", "-sha256", inputs.big.as_str()];
    row("openssl: 1 GiB, header only", 3, &[casemate.as_str(), "scan", "-q", "--no-hash", &inputs.big], &openssl)?;
    row("openssl: 1 GiB, with digest", 3, &[&scan[..], &[&inputs.big]].concat(), &openssl)?;
    let versions: Vec<&str> = PEERS.iter().filter_map(|(_, install, _)| install.first().copied()).collect();
    println!(
        "\npeers: {}; `openssl dgst -sha256` of the same file. Ours computes digests unless it says",
        versions.join(", ")
    );
    println!("header only. A peer may skip what it does not know: its figure is then that of doing nothing.");
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

/// Installs a peer in an environment of its own and returns its command, or says why it is left out.
fn peer(work: &Path, name: &str, install: &[&str]) -> Option<String> {
    let environment = work.join(format!("venv-{name}"));
    let command = environment.join("bin").join(name);
    if !command.exists() {
        println!("installing {} for comparison", install.join(" "));
        let quiet = |program: &Path, arguments: &[&str]| {
            let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        let pip = [&["install", "--quiet", "--disable-pip-version-check"][..], install].concat();
        let made = quiet(Path::new("python3"), &["-m", "venv", &environment.display().to_string()]);
        if !made || !quiet(&environment.join("bin/pip"), &pip) {
            println!("{name}: skipped, pip cannot install {}", install.join(" "));
            return None;
        }
    }
    Some(command.display().to_string())
}

fn row(what: &str, runs: usize, ours: &[&str], peer: &[&str]) -> Result<()> {
    let mut best: [Option<Cost>; 2] = [None, None];
    let mut peer_code = 0;
    // In turn, so that a drift of the machine meets both.
    for _ in 0..runs {
        for (best, command) in best.iter_mut().zip([ours, peer]) {
            let (cost, code) = cost(command)?;
            // The files are harmless. A peer that says otherwise is timed all the same, and the row says so.
            ensure!(code == 0 || command == peer, "{command:?} ended with {code}");
            peer_code = code;
            *best = Some(best.map_or(cost, |known| Cost {
                cpu_seconds: known.cpu_seconds.min(cost.cpu_seconds),
                peak_kib: known.peak_kib.min(cost.peak_kib),
            }));
        }
    }
    let [Some(ours), Some(peer)] = best else { bail!("nothing was run") };
    let ratio = ours.cpu_seconds.max(0.001) / peer.cpu_seconds.max(0.001);
    println!(
        "{what:<40} {:>12.3} {:>12.3} {ratio:>8.3}× {:>12} {:>9}{}",
        ours.cpu_seconds,
        peer.cpu_seconds,
        ours.peak_kib,
        peer.peak_kib,
        if peer_code == 0 { String::new() } else { format!("  peer exits {peer_code}") }
    );
    Ok(())
}

/// What one run of `command` took, and its exit code. GNU time counts in hundredths of a second.
fn cost(command: &[&str]) -> Result<(Cost, i32)> {
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
    let code = output.status.code().with_context(|| format!("{command:?} was stopped: {text}"))?;
    Ok((Cost { cpu_seconds, peak_kib }, code))
}
