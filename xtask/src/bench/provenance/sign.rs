//! Signing and verifying beside the reference implementation, `openssl dgst` and a bare BLAKE3 loop; digests of earlier runs;
//! one core and all.

use std::io::Read;
use std::path::Path;
use std::thread::available_parallelism;

use anyhow::{Context as _, Result};

use super::{Bench, Cost, goal, words};
use crate::python;
use crate::test::{MODEL_SIGNING, ensure_program};
use crate::tree::Tree;

/// The reference signs and verifies with BLAKE3 through its Python interface only.
const REFERENCE_SIGN: &str = "
import sys
from model_signing import hashing, signing
config = hashing.Config().use_file_serialization(hashing_algorithm='blake3')
signing.Config().use_elliptic_key_signer(private_key=sys.argv[3]).set_hashing_config(config).sign(sys.argv[1], sys.argv[2])
";
const REFERENCE_VERIFY: &str = "
import sys
from model_signing import verifying
verifying.Config().use_elliptic_key_verifier(public_key=sys.argv[3]).verify(sys.argv[1], sys.argv[2])
";

/// Runs whose sum is divided, where one is too short for the clock.
const SHORT_RUNS: u32 = 50;

/// What the three cost for one hash function.
struct Side {
    ours: [Cost; 2],
    reference: [Cost; 2],
    bare: Cost,
}

pub(super) fn run(tree: &Tree, bench: &Bench) -> Result<()> {
    for (program, package) in
        [("/usr/bin/time", "time"), ("openssl", "openssl"), ("python3", "python3"), ("taskset", "util-linux")]
    {
        ensure_program(program, package)?;
    }
    let reference = python::environment(tree, "model-signing", MODEL_SIGNING)?;
    let bytes = bench.gib << 30;
    let big = (0..6).map(|n| (format!("model-{n}.safetensors"), bytes / 10 * 9 / 6));
    let model = bench.model("model", big.chain((0..1000).map(|n| (format!("small-{n}.json"), bytes / 10_000))))?;
    bench.least(1, &[words(&format!("{} keygen -q -o {}", bench.casemate, bench.path("key.pem")))])?;
    println!("{} GiB in 6 large and 1,000 small files, from the page cache; least of 2 runs\n", bench.gib);
    println!("{:<38} {:>8} {:>8} {:>9} {:>14}", "", "CPU s", "wall s", "peak MiB", "GiB per CPU s");
    let sha256 = side(bench, &reference, &model, "sha256")?;
    let blake3 = side(bench, &reference, &model, "blake3")?;
    let one_and_all = cores(bench, &model)?;
    std::fs::remove_dir_all(&model)?;
    let (first, again) = remembered(bench)?;
    let tiny_ms = tiny(bench)?;
    println!();
    for (name, side, faster) in [("sha256", &sha256, 3.0), ("blake3", &blake3, 1.8)] {
        for (verb, ours, theirs) in
            [("sign", side.ours[0], side.reference[0]), ("verify", side.ours[1], side.reference[1])]
        {
            goal(
                &format!("{verb}, {name}: times the reference's GiB per CPU s"),
                theirs.cpu() / ours.cpu(),
                faster,
                true,
            );
            goal(&format!("{verb}, {name}: CPU of the bare hash"), ours.cpu() / side.bare.cpu(), 1.3, false);
        }
    }
    goal("verify, sha256: CPU of openssl dgst", sha256.ours[1].cpu() / sha256.bare.cpu(), 1.0, false);
    goal("verify, blake3: CPU of the reference", blake3.ours[1].cpu() / blake3.reference[1].cpu(), 1.0, false);
    #[expect(clippy::cast_precision_loss, reason = "kibibytes of one process")]
    let peak = sha256.ours.iter().chain(&blake3.ours).map(|cost| cost.peak_kib).max().unwrap_or(0) as f64 / 1024.0;
    goal("peak memory, MiB", peak, 64.0, false);
    goal("100 unchanged files: CPU of the first run, in %", again / first * 100.0, 1.0, false);
    goal("signing a tiny model, whole process, ms of CPU", tiny_ms, 10.0, false);
    let n = available_parallelism().map_or(1, usize::from);
    #[expect(clippy::cast_precision_loss, reason = "a number of cores")]
    let bound = 0.8 * n as f64;
    goal(&format!("verify, sha256: one core's wall time over that of {n}"), one_and_all, bound, true);
    Ok(())
}

/// Signing and verifying with one hash function, by all.
fn side(bench: &Bench, reference: &Path, model: &str, hash: &str) -> Result<Side> {
    let (key, public) = (bench.path("key.pem"), bench.path("key.pub.pem"));
    let (ours, theirs) = (bench.path("ours.sig"), bench.path("theirs.sig"));
    let program = reference.join("model_signing").display().to_string();
    let python = reference.join("python").display().to_string();
    let api = |script: &str, key: &str| [&python, "-c", script, model, &theirs, key].map(str::to_owned).to_vec();
    let (sign, verify, bare) = match hash {
        "sha256" => (
            words(&format!("{program} sign key {model} --signature {theirs} --private_key {key}")),
            words(&format!("{program} verify key {model} --signature {theirs} --public_key {public}")),
            words("openssl dgst -sha256"),
        ),
        _ => {
            let itself = std::env::current_exe()?.display().to_string();
            (api(REFERENCE_SIGN, &key), api(REFERENCE_VERIFY, &public), words(&format!("{itself} bench blake3-loop")))
        }
    };
    let files = std::fs::read_dir(model)?.map(|entry| Ok(entry?.path().display().to_string()));
    let bare = bare.into_iter().map(Ok).chain(files).collect::<Result<Vec<_>>>()?;
    let casemate = &bench.casemate;
    let commands = [
        words(&format!("{casemate} sign -q --full {model} --hash {hash} --signature {ours} --key {key}")),
        sign,
        words(&format!("{casemate} verify -q --full {model} --signature {ours} --key {public}")),
        verify,
        bare,
    ];
    let [sign, reference_sign, verify, reference_verify, bare] = bench.least(2, &commands)?;
    row(&format!("{hash}: sign, casemate"), bench.gib, sign);
    row(&format!("{hash}: sign, model-signing"), bench.gib, reference_sign);
    row(&format!("{hash}: verify, casemate"), bench.gib, verify);
    row(&format!("{hash}: verify, model-signing"), bench.gib, reference_verify);
    row(&format!("{hash}: {}", if hash == "sha256" { "openssl dgst" } else { "bare loop" }), bench.gib, bare);
    Ok(Side { ours: [sign, verify], reference: [reference_sign, reference_verify], bare })
}

/// How many times as long one core takes as all of them.
fn cores(bench: &Bench, model: &str) -> Result<f64> {
    let (ours, key, public) = (bench.path("ours.sig"), bench.path("key.pem"), bench.path("key.pub.pem"));
    let casemate = &bench.casemate;
    bench.least(1, &[words(&format!("{casemate} sign -q --full {model} --signature {ours} --key {key}"))])?;
    let verify = format!("{casemate} verify -q --full {model} --signature {ours} --key {public}");
    let [one, all] = bench.least(2, &[words(&format!("taskset -c 0 {verify}")), words(&verify)])?;
    row("sha256: verify, one core", bench.gib, one);
    row("sha256: verify, all cores", bench.gib, all);
    // One large file cannot be divided for SHA-256, and is for BLAKE3.
    let single = format!("{model}/model-0.safetensors");
    let file = |hash: &str| {
        let sign = format!("{casemate} sign -q --full {single} --hash {hash} --signature {ours} --key {key}");
        bench.least(2, &[words(&format!("taskset -c 0 {sign}")), words(&sign)])
    };
    for hash in ["sha256", "blake3"] {
        let [one, all] = file(hash)?;
        println!("{:<38} {:>8.2} {:>8.2}", format!("{hash}: one large file, one core"), one.cpu(), one.wall_seconds);
        println!("{:<38} {:>8.2} {:>8.2}", format!("{hash}: one large file, all cores"), all.cpu(), all.wall_seconds);
    }
    Ok(one.wall_seconds / all.wall_seconds.max(0.01))
}

/// CPU seconds of a first verification of 100 files in a project, and of later ones.
fn remembered(bench: &Bench) -> Result<(f64, f64)> {
    let model = bench.model("hundred", (0..100).map(|n| (format!("{n}.safetensors"), (bench.gib << 30) / 100)))?;
    let (casemate, project) = (&bench.casemate, bench.path("project"));
    std::fs::create_dir_all(&project)?;
    let (ours, key, public) = (bench.path("ours.sig"), bench.path("key.pem"), bench.path("key.pub.pem"));
    bench.least(1, &[words(&format!("{casemate} init -q {project}"))])?;
    std::thread::sleep(std::time::Duration::from_secs(4));
    bench.least(1, &[words(&format!("{casemate} -C {project} sign -q {model} --signature {ours} --key {key}"))])?;
    let verify = format!("{casemate} -C {project} verify -q {model} --signature {ours} --key {public}");
    let [first] = bench.least(2, &[words(&format!("{verify} --full"))])?;
    // With the usual draw, one run in two reads one of the hundred files; seed 3 draws none.
    let [drawn, none] = [repeated(bench, &verify)?, repeated(bench, &format!("{verify} --seed 3"))?];
    row("sha256: 100 files, first run", bench.gib, first);
    println!("{:<38} {drawn:>8.4}", "sha256: 100 files again, on average");
    println!("{:<38} {none:>8.4}", "sha256: 100 files again, none drawn");
    Ok((first.cpu(), drawn))
}

/// CPU milliseconds of signing a model of two small files.
fn tiny(bench: &Bench) -> Result<f64> {
    let model = bench.model("tiny", [("a".into(), 100), ("b".into(), 1000)])?;
    let (casemate, signature, key) = (&bench.casemate, bench.path("tiny.sig"), bench.path("key.pem"));
    let one = repeated(bench, &format!("{casemate} sign -q {model} --signature {signature} --key {key}"))?;
    println!("{:<38} {one:>8.4}", "sha256: sign two tiny files");
    Ok(one * 1000.0)
}

/// CPU seconds of one run of `command`, of many: the clock counts hundredths.
fn repeated(bench: &Bench, command: &str) -> Result<f64> {
    let script = format!("n=0; while [ $n -lt {SHORT_RUNS} ]; do {command} >/dev/null || exit 1; n=$((n+1)); done");
    let [all] = bench.least(1, &[["sh", "-c", &script].map(str::to_owned).to_vec()])?;
    Ok(all.cpu() / f64::from(SHORT_RUNS))
}

fn row(what: &str, gib: u64, cost: Cost) {
    #[expect(clippy::cast_precision_loss, reason = "a few gibibytes")]
    let (speed, peak) = (gib as f64 / cost.cpu(), cost.peak_kib as f64 / 1024.0);
    println!("{what:<38} {:>8.2} {:>8.2} {peak:>9.1} {speed:>14.2}", cost.cpu(), cost.wall_seconds);
}

/// Hashes files with BLAKE3 and does nothing else: what `b3sum --num-threads 1` does, without mapping.
///
/// # Errors
/// When a file cannot be read.
pub fn blake3_loop(files: &[String]) -> Result<()> {
    let mut buffer = vec![0; 256 << 10];
    for path in files {
        let mut file = std::fs::File::open(path).with_context(|| path.clone())?;
        let mut hasher = blake3::Hasher::new();
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => hasher.update(buffer.get(..n).unwrap_or_default()),
            };
        }
        println!("{}", hasher.finalize().to_hex());
    }
    Ok(())
}
