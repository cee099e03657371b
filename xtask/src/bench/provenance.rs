//! `cargo xtask bench provenance [--gib N]`: what custody costs beside the tools a user would pick instead, in one run.
//!
//! Models of a few gigabytes are written to a directory of their own, which is removed at the end; the space is looked for
//! first. CPU seconds and peak memory are those of whole processes; goals are printed as met or not met and never asserted.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Cost, cost};
use crate::tree::Tree;

mod seal;
mod sign;

pub use sign::blake3_loop;

/// Gibibytes of the model that is signed, unless told otherwise.
const GIB: u64 = 3;

/// Where the benchmark works.
struct Bench {
    /// A directory that is removed with this.
    work: PathBuf,
    /// The release build.
    casemate: String,
    /// Gibibytes of the model.
    gib: u64,
}

/// Runs it.
///
/// # Errors
/// When the disk is too full, a tool is missing and cannot be installed, or a run does not end as expected.
pub fn run(tree: &Tree, arguments: &[String]) -> Result<()> {
    let gib = match arguments {
        [] => GIB,
        [flag, n] if flag == "--gib" => n.parse().ok().filter(|n| *n > 0).context("--gib takes a number from 1 on")?,
        _ => bail!("`bench provenance` takes `--gib N`"),
    };
    let bench = Bench::new(tree, gib)?;
    sign::run(tree, &bench)?;
    seal::rows(tree, &bench.casemate, &bench.work)
}

impl Bench {
    fn new(tree: &Tree, gib: u64) -> Result<Self> {
        let casemate = super::built_casemate(tree)?;
        let work = tree.root.join(format!("target/bench/provenance-{}", std::process::id()));
        std::fs::create_dir_all(&work)?;
        let bench = Self { work, casemate, gib };
        // One model lies there at a time, and the system needs room besides.
        let (free, needed) = (free_gib(&bench.work)?, gib + 3);
        ensure!(free >= needed, "{free} GiB are free and {needed} are needed; make room, or ask for less with --gib");
        Ok(bench)
    }

    fn path(&self, name: &str) -> String {
        self.work.join(name).display().to_string()
    }

    /// Writes a model of `files`, each a name and a length in bytes.
    fn model(&self, name: &str, files: impl IntoIterator<Item = (String, u64)>) -> Result<String> {
        let root = self.work.join(name);
        std::fs::create_dir_all(&root)?;
        let mut state = 1u64;
        let block: Vec<u8> = (0..1 << 20)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state.to_be_bytes()[0]
            })
            .collect();
        for (n, (name, bytes)) in files.into_iter().enumerate() {
            let mut file = BufWriter::with_capacity(1 << 20, File::create(root.join(name))?);
            // No two files are equal.
            let head = (n as u64).to_be_bytes();
            file.write_all(&head)?;
            let mut left = bytes.saturating_sub(8);
            while left > 0 {
                let part = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
                file.write_all(block.get(..part).unwrap_or(&block))?;
                left -= part as u64;
            }
            file.flush()?;
        }
        Ok(root.display().to_string())
    }

    /// The least that each of `commands` takes of `runs` runs, in turn, so that a drift of the machine meets all.
    fn least<const N: usize>(&self, runs: usize, commands: &[Vec<String>; N]) -> Result<[Cost; N]> {
        let mut least: [Option<Cost>; N] = [None; N];
        for _ in 0..runs {
            for (least, command) in least.iter_mut().zip(commands) {
                let words: Vec<&str> = command.iter().map(String::as_str).collect();
                let (cost, code) = cost(&words)?;
                ensure!(code == 0, "{} … ended with {code}", words.get(..4).unwrap_or(&words).join(" "));
                *least = Some(least.map_or(cost, |known| known.least(cost)));
            }
        }
        Ok(least.map(|cost| cost.unwrap_or_default()))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.work) {
            eprintln!("{} could not be removed: {error}", self.work.display());
        }
    }
}

/// Whole gibibytes free where `directory` is.
fn free_gib(directory: &Path) -> Result<u64> {
    let output = Command::new("df").arg("-Pk").arg(directory).output().context("cannot run df")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let kib = text.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    kib.map(|kib| kib >> 20).with_context(|| format!("df says nothing of {}", directory.display()))
}

/// Says whether a goal is met.
fn goal(what: &str, is: f64, bound: f64, at_least: bool) {
    let met = if at_least { is >= bound } else { is <= bound };
    let word = if at_least { "at least" } else { "at most" };
    println!("{:<8} {what}: {is:.2}, {word} {bound}", if met { "met" } else { "NOT MET" });
}

/// Words of a command.
fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}
