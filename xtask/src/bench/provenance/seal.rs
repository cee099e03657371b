//! `cargo xtask bench provenance`: sealing and opening 1 GiB, beside age (whole processes, file to file) and the bare cipher (memory).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::bench::row;
use crate::test::ensure_program;
use crate::tree::Tree;

/// Prints the rows of sealing: age on files, then the bare cipher in memory.
///
/// # Errors
/// When a program is missing or fails.
pub fn rows(tree: &Tree, casemate: &str, work: &Path) -> Result<()> {
    ensure_program("age", "age")?;
    println!("\n{:<40} {:>12} {:>12} {:>9} {:>12} {:>9}", "sealing", "casemate", "peer", "ratio", "casemate", "peer");
    println!(
        "{:<40} {:>12} {:>12} {:>9} {:>12} {:>9}",
        "whole processes, least of runs", "CPU s", "CPU s", "", "peak KiB", "peak KiB"
    );
    let text = |name: &str| work.join(name).display().to_string();
    let (plain, identity) = (text("seal.bin"), text("seal-age.txt"));
    input(Path::new(&plain))?;
    let _ = std::fs::remove_file(&identity);
    let made = Command::new("age-keygen").args(["-o", &identity]).output()?;
    ensure!(made.status.success(), "age-keygen failed");
    let recipient = Command::new("age-keygen").args(["-y", &identity]).output()?;
    let recipient = String::from_utf8(recipient.stdout)?.trim().to_owned();
    let (sealed, opened) = (text("seal.cmv"), text("seal.opened"));
    let (age, unaged) = (text("seal.age"), text("seal.unaged"));

    let theirs = ["age", "-r", &recipient, "-o", &age, &plain];
    let ours = [casemate, "seal", "-q", &plain, "-o", &sealed, "--recipient", &recipient, "--force", "--no-record"];
    row("age: encrypt, digest and all", 3, &ours, &theirs)?;
    row("age: encrypt, --no-digest", 3, &[&ours[..], &["--no-digest"]].concat(), &theirs)?;
    let theirs = ["age", "-d", "-i", &identity, "-o", &unaged, &age];
    let ours = [casemate, "open", "-q", &sealed, "-o", &opened, "--identity", &identity, "--force"];
    row("age: decrypt", 3, &ours, &theirs)?;
    for path in [&sealed, &opened, &age, &unaged] {
        std::fs::remove_file(path)?;
    }
    bare(tree)
}

/// One thread, in memory, beside the cipher alone.
fn bare(tree: &Tree) -> Result<()> {
    let output = Command::new("cargo")
        .args(["run", "--release", "--quiet", "-p", "casemate-provenance", "--example", "seal_speed"])
        .current_dir(&tree.root)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let seconds = |name: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.context("no figure")?.parse().context("a figure")
    };
    let bare = seconds("bare")?;
    for (name, what) in [
        ("seal", "bare cipher: seal, in memory"),
        ("open", "bare cipher: open, in memory"),
        ("seal-digest", "bare cipher: seal with digest"),
    ] {
        let ours = seconds(name)?;
        println!("{what:<40} {ours:>12.3} {bare:>12.3} {:>8.3}×", ours / bare);
    }
    println!(
        "\n1 GiB. age: file to file. bare cipher: AES-256-GCM of aws-lc over memory, chunks of 1 MiB, one thread."
    );
    Ok(())
}

/// 1 GiB that is neither zeros nor random.
fn input(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut file = BufWriter::new(File::create(path)?);
    let block: Vec<u8> = (0..1u32 << 20).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    for _ in 0..1024 {
        file.write_all(&block)?;
    }
    Ok(file.flush()?)
}
