//! Every hostile sample with one byte changed, and cut short: no panic, a verdict, and never clean by chance.
//!
//! The samples are those of the table of bypasses and the golden hits. A mutant of a hostile file may come out clean only if
//! CPython's own readers, which merely record, import nothing from it (or from what Python's modules unpack from it) that the
//! policy does not list; or if it is plain text from which they call nothing. `tests/bounds.rs` measures memory.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;
#[path = "bypasses/table/mod.rs"]
#[allow(dead_code, reason = "the table has more in it than its samples")]
mod table;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

use casemate_artifact::pickle::Global;
use casemate_artifact::{Imports, Scan, Verdict};
use casemate_core::Seed;

use crate::common::{CALLED, python_imports_of_files, samples, scan};

const SEED: Seed = Seed(20_261_121);

/// Places changed in one sample, and places it is cut at; all of them in a sample no longer than this.
const PLACES: usize = 64;

/// Variants of one technique that are changed: the rest differ from them by a name.
const VARIANTS: usize = 5;

struct Sample {
    name: String,
    bytes: Vec<u8>,
    /// Whether the sample itself is malicious.
    is_malicious: bool,
}

/// The samples of the table and the golden hits, large ones apart: what makes those large is said again and again.
static FILES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let is_malicious = |name: &str, bytes: &[u8]| scan(name, bytes).verdict == Verdict::Malicious;
    let golden = samples().into_iter().filter(|sample| sample.kind == "hit").map(|sample| (sample.name, sample.bytes));
    let few = |technique: table::Technique| {
        technique.samples.into_iter().take(VARIANTS).map(|sample| (sample.name, sample.bytes))
    };
    let all = golden.chain(table::techniques().into_iter().flat_map(few));
    let small = all.filter(|(_, bytes)| bytes.len() < 100_000);
    small.map(|(name, bytes)| Sample { is_malicious: is_malicious(&name, &bytes), name, bytes }).collect()
});

/// The mutants of one sample: a bit flipped, a byte changed, cut.
fn mutants(sample: u64, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut mutants = Vec::new();
    for n in 0..PLACES.min(bytes.len()) {
        let chance = SEED.part(sample << 32 | n as u64).0;
        let at = if bytes.len() <= PLACES { n } else { usize::try_from(chance % bytes.len() as u64).unwrap() };
        let change = u8::try_from(chance >> 32 & 0xff).unwrap().max(1);
        for changed in [bytes[at] ^ 1 << (n % 8), bytes[at].wrapping_add(change)] {
            let mut mutant = bytes.to_vec();
            mutant[at] = changed;
            mutants.push(mutant);
        }
        mutants.push(bytes[..at].to_vec());
    }
    mutants
}

/// Names among those Python asked for that no profile lists.
fn not_listed<'a>(imports: &Imports, names: &'a BTreeSet<String>) -> Vec<&'a String> {
    let is_bad = |name: &&String| {
        let (module, name) = name.split_once('\x1f').unwrap();
        // Python asks for these too, but no module has such names, so nothing comes of it but an error.
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        if module.is_empty() || name.is_empty() || !module.chars().chain(name.chars()).all(word) {
            return false;
        }
        let global = Global { module: module.into(), name: name.into(), known: true, python2: false };
        !imports.allows_import(&global)
    };
    names.iter().filter(is_bad).collect()
}

/// Scans the mutants of every sample; gives the clean ones of malicious samples.
fn scanned(files: &[Sample]) -> (usize, Vec<(String, Vec<u8>, Scan)>) {
    let (next, count, clean) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(sample) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let id = sample.bytes.iter().fold(0u64, |id, byte| id.wrapping_mul(31).wrapping_add(u64::from(*byte)));
            for mutant in mutants(id, &sample.bytes) {
                // A panic fails the test; a verdict without a reason would be a defect as well.
                let scan = scan(&sample.name, &mutant);
                assert!(scan.verdict == Verdict::Clean || !scan.findings.is_empty(), "{}", sample.name);
                count.fetch_add(1, Ordering::Relaxed);
                if scan.verdict == Verdict::Clean && sample.is_malicious {
                    clean.lock().unwrap().push((sample.name.clone(), mutant, scan));
                }
            }
        }
    };
    std::thread::scope(|scope| drop([(); 2].map(|()| scope.spawn(work))));
    (count.into_inner(), clean.into_inner().unwrap())
}

#[test]
fn a_mutant_is_clean_only_if_python_imports_nothing_bad_either() {
    let imports = Imports::built_in();
    let (count, clean) = scanned(&FILES);
    assert!(count > 20_000, "only {count} mutants");
    let bytes: Vec<_> = clean.iter().map(|(_, mutant, _)| mutant.clone()).collect();
    let mut wrong = Vec::new();
    for ((name, mutant, scan), names) in clean.iter().zip(python_imports_of_files(&bytes)) {
        // Lines of text are no pickle only because the first word begins with `c`: what imports and then breaks, calling
        // nothing, is left to be text.
        let is_text = scan.objects.iter().any(|object| object.format == "text") && !names.contains(CALLED);
        let bad = not_listed(imports, &names);
        if !bad.is_empty() && !is_text {
            wrong.push(format!("{name}: Python imports {bad:?} from {}", mutant.escape_ascii()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} mutants are clean and should not be ({SEED}):\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(clean.len() < count / 4, "{} of {count} mutants are clean", clean.len());
}

#[test]
fn python_sees_the_payload_of_most_samples_so_that_its_silence_says_something() {
    let imports = Imports::built_in();
    // Those of other formats hold nothing that Python's unpicklers would see.
    let imports_something = |sample: &&Sample| !scan(&sample.name, &sample.bytes).imports.is_empty();
    let files: Vec<_> = FILES.iter().filter(|sample| sample.is_malicious).filter(imports_something).collect();
    let bytes: Vec<_> = files.iter().map(|sample| sample.bytes.clone()).collect();
    let names = python_imports_of_files(&bytes);
    let seen = names.iter().filter(|names| !not_listed(imports, names).is_empty()).count();
    assert!(
        files.len() > 100 && seen * 10 > files.len() * 7,
        "Python sees something bad in {seen} of {} samples",
        files.len()
    );
}
