//! `cargo xtask realworld [--keep]`: real models out of public packages, scanned with the built program.
//!
//! A scanner that cries wolf is switched off, so every file here has to come out clean, or suspicious for a stated reason.
//! `testdata/realworld/packages.toml` pins each archive by version, size and digest; pip and npm fetch them, nothing in them
//! is run or committed, and without `--keep` all is deleted again. What the scanner cannot read yet shows as unscannable.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::bench::built_casemate;
use crate::test::ensure_program;
use crate::toml_file::{tables, text};
use crate::tree::Tree;

/// Larger archives are left out.
const ARCHIVE_BYTES_MAX: u64 = 150 << 20;

/// Alarms in a hundred files above which the run fails.
const ALARMS_PERCENT_MAX: usize = 2;

/// Endings of model files. Other files of a package (code, prose, pictures) are no models.
const ENDINGS: &[&str] = &[
    "bin",
    "caffemodel",
    "ckpt",
    "data-00000-of-00001",
    "dat",
    "ftz",
    "gguf",
    "h5",
    "hdf5",
    "index",
    "jit",
    "joblib",
    "keras",
    "lz4",
    "mlmodel",
    "msgpack",
    "npy",
    "npz",
    "onnx",
    "ort",
    "pb",
    "pdiparams",
    "pdmodel",
    "pickle",
    "pkl",
    "plzma",
    "pt",
    "pth",
    "rda",
    "rds",
    "safetensors",
    "tflite",
    "ubj",
    "xz",
];

struct Package {
    registry: String,
    name: String,
    version: String,
    archive: String,
    bytes: u64,
    sha256: String,
    files_max: usize,
}

/// What was said of one file.
struct Row {
    package: String,
    file: String,
    format: String,
    verdict: String,
    finding: String,
}

/// Fetches, unpacks, scans and sums up.
///
/// # Errors
/// When a tool is missing, a package cannot be fetched or is not the one pinned, or the scan does not end as expected.
pub fn run(tree: &Tree, arguments: &[String]) -> Result<ExitCode> {
    let keep = match arguments {
        [] => false,
        [flag] if flag == "--keep" => true,
        _ => anyhow::bail!("`cargo xtask realworld` takes `--keep` or nothing"),
    };
    ensure_program("python3", "python3")?;
    let casemate = built_casemate(tree)?;
    let work = tree.root.join("target/realworld");
    let mut rows = Vec::new();
    for package in packages(tree)? {
        if package.bytes > ARCHIVE_BYTES_MAX {
            println!("{}: skipped, larger than {ARCHIVE_BYTES_MAX} bytes", package.name);
            continue;
        }
        let archive = fetch(&package, &work.join("archives"))?;
        let files = unpack(&package, &archive, &work.join("files"))?;
        rows.extend(scan(&casemate, &package, &files)?);
    }
    if !keep {
        std::fs::remove_dir_all(&work)?;
    }
    Ok(report(&rows))
}

fn packages(tree: &Tree) -> Result<Vec<Package>> {
    let path = "testdata/realworld/packages.toml";
    let table: toml::Table = tree.read(path)?.parse().context(path)?;
    let package = |table: &toml::Table| -> Result<Package> {
        let number = |key: &str| table.get(key).and_then(toml::Value::as_integer);
        let field = |key: &str| text(table, key).to_owned();
        let package = Package {
            registry: field("registry"),
            name: field("name"),
            version: field("version"),
            archive: field("archive"),
            bytes: number("bytes").and_then(|bytes| u64::try_from(bytes).ok()).context("bytes")?,
            sha256: field("sha256"),
            files_max: number("files_max").map_or(Ok(usize::MAX), usize::try_from)?,
        };
        let plain = !package.archive.contains('/') && !package.archive.is_empty();
        ensure!(plain && package.sha256.len() == 64, "{path}: package `{}` is not pinned", package.name);
        Ok(package)
    };
    tables(&table, "package").into_iter().map(package).collect()
}

/// The archive of a package on disk, of the size and digest that are pinned.
fn fetch(package: &Package, archives: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(archives)?;
    let path = archives.join(&package.archive);
    if !path.exists() {
        println!("fetching {} {}", package.name, package.version);
        let mut command = match package.registry.as_str() {
            "npm" => Command::new("npm"),
            _ => Command::new("python3"),
        };
        match package.registry.as_str() {
            "npm" => command.args(["pack", "--silent", &format!("{}@{}", package.name, package.version)]),
            _ => command
                .args(["-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"])
                .args(["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_28_x86_64"])
                .arg(format!("{}=={}", package.name, package.version)),
        };
        let status = command.current_dir(archives).stdout(Stdio::null()).status().context(package.registry.clone())?;
        ensure!(status.success(), "{} {} cannot be fetched", package.name, package.version);
    }
    let size = path.metadata().with_context(|| format!("{} gave no {}", package.registry, package.archive))?.len();
    let output = Command::new("sha256sum").arg("--").arg(&path).output().context("sha256sum")?;
    let sha256 = String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap_or_default().to_owned();
    ensure!(
        size == package.bytes && sha256 == package.sha256,
        "{} is not the archive that is pinned: {size} bytes, sha256 {sha256}",
        path.display()
    );
    Ok(path)
}

/// The model files in an archive, unpacked.
fn unpack(package: &Package, archive: &Path, files: &Path) -> Result<Vec<PathBuf>> {
    let folder = files.join(package.name.replace('/', "-"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    // Python's extractors keep members below the folder, whatever their names say.
    let module = if package.registry == "npm" { "tarfile" } else { "zipfile" };
    let status =
        Command::new("python3").args(["-m", module, "-e"]).arg(archive).arg(&folder).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "{} cannot be unpacked", archive.display());
    let mut found = Vec::new();
    collect(&folder, &mut found)?;
    found.sort();
    found.truncate(package.files_max);
    Ok(found)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), found)?;
        } else if name.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending)) {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn scan(casemate: &str, package: &Package, files: &[PathBuf]) -> Result<Vec<Row>> {
    ensure!(!files.is_empty(), "{} {} holds no model file", package.name, package.version);
    let output = Command::new(casemate)
        .args(["scan", "--no-record", "--no-hash", "--format", "json", "--"])
        .args(files)
        .output()
        .context("casemate")?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no report of {}: {}", package.name, String::from_utf8_lossy(&output.stderr)))?;
    let string = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let row = |artifact: &Value| {
        let path = string(artifact, "path");
        let first = artifact.get("findings").and_then(|findings| findings.get(0));
        Row {
            package: package.name.clone(),
            file: path.rsplit('/').next().unwrap_or_default().to_owned(),
            format: string(artifact, "format"),
            verdict: string(artifact, "verdict"),
            finding: first
                .map(|one| format!("{}: {}", string(one, "rule"), string(one, "message")))
                .unwrap_or_default(),
        }
    };
    let artifacts = report.get("artifacts").and_then(Value::as_array).context("artifacts of the report")?;
    ensure!(artifacts.len() == files.len(), "{}: {} of {} files reported", package.name, artifacts.len(), files.len());
    Ok(artifacts.iter().map(row).collect())
}

fn report(rows: &[Row]) -> ExitCode {
    println!("{:<24} {:<36} {:<12} {:<12} first finding", "package", "file", "format", "verdict");
    for row in rows {
        let finding: String = match row.verdict.as_str() {
            "clean" => String::new(),
            _ => row.finding.chars().take(110).collect(),
        };
        let file: String = row.file.chars().take(36).collect();
        println!("{:<24} {file:<36} {:<12} {:<12} {finding}", row.package, row.format, row.verdict);
    }
    let count = |verdict: &str| rows.iter().filter(|row| row.verdict == verdict).count();
    let (malicious, suspicious, unscannable) = (count("malicious"), count("suspicious"), count("unscannable"));
    let distinct = |of: fn(&Row) -> &String| {
        let mut names: Vec<_> = rows.iter().map(of).collect();
        names.sort();
        names.dedup();
        names.len()
    };
    let (packages, formats) = (distinct(|row| &row.package), distinct(|row| &row.format));
    println!(
        "\n{} files of {packages} packages in {formats} formats: {} clean, {malicious} malicious, {suspicious} suspicious, \
         {unscannable} unscannable",
        rows.len(),
        count("clean")
    );
    let alarms = malicious + suspicious;
    match malicious > 0 || alarms * 100 > rows.len() * ALARMS_PERCENT_MAX {
        true => ExitCode::from(1),
        false => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned_and_small_enough() {
        let packages = packages(&Tree::here().unwrap()).unwrap();
        assert!(packages.len() >= 25, "{}", packages.len());
        assert!(packages.iter().all(|package| package.bytes <= ARCHIVE_BYTES_MAX));
    }

    #[test]
    fn one_malicious_file_or_three_alarms_in_a_hundred_fail() {
        let rows = |verdicts: &[(&str, usize)]| -> Vec<Row> {
            let row = |verdict: &str| Row {
                package: String::new(),
                file: String::new(),
                format: String::new(),
                verdict: verdict.into(),
                finding: String::new(),
            };
            verdicts.iter().flat_map(|(verdict, n)| (0..*n).map(|_| row(verdict))).collect()
        };
        let fails = |verdicts: &[(&str, usize)]| report(&rows(verdicts)) == ExitCode::from(1);
        assert!(fails(&[("clean", 99), ("malicious", 1)]));
        assert!(fails(&[("clean", 97), ("suspicious", 3)]));
        assert!(!fails(&[("clean", 98), ("suspicious", 2)]));
        assert!(!fails(&[("clean", 1), ("unscannable", 9)]));
    }
}
