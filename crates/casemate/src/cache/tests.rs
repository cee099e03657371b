//! What makes a kept verdict another's, or none.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use casemate_artifact::RULE_FILES;
use casemate_core::{MemorySource, Severity};
use casemate_provenance::sha256;

use super::*;
use crate::scanning::{ScanSettings, digest_of_rules, scan_source};

const SLOW: Duration = Duration::from_secs(1);

/// A system call in a pickle.
const BAD: &[u8] = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.";
const GOOD: &[u8] = b"\x80\x02ccollections\nOrderedDict\n)R.";

fn scanned(path: &str, bytes: &[u8]) -> (ScannedFile, Digest) {
    let limits = Limits::default();
    let scanner = casemate_artifact::Scanner::new(limits.clone());
    let settings = ScanSettings { limits: &limits, hash: true, weights: false, cache: None, known: None };
    let mut file = scan_source(&scanner, path, std::sync::Arc::new(MemorySource::new(bytes)), settings);
    file.keep = Some(SLOW);
    (file, sha256(bytes))
}

fn cache() -> (tempfile::TempDir, Cache) {
    let state = tempfile::tempdir().unwrap();
    fs::create_dir(state.path().join("keys")).unwrap();
    let cache = Cache::open_in(state.path(), &Limits::default()).unwrap();
    (state, cache)
}

fn entries(cache: &Cache) -> Vec<PathBuf> {
    fs::read_dir(&cache.store.directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_kept_verdict_is_the_scanned_one() {
    let (_state, cache) = cache();
    for (path, bytes) in [("bad.pkl", BAD), ("good.pkl", GOOD)] {
        let (file, digest) = scanned(path, bytes);
        assert!(cache.get(path, file.report.size, digest, false).is_none());
        cache.put(&file, digest, false);
        let again = cache.get(path, file.report.size, digest, false).unwrap();
        assert_eq!(serde_json::to_value(&again.report).unwrap(), serde_json::to_value(&file.report).unwrap());
        let rest =
            |file: &ScannedFile| (file.bytes_unclaimed, file.runs_code_by_design, file.has_template, file.is_model);
        assert_eq!(rest(&again), rest(&file));
    }
    assert_eq!((cache.taken(), cache.disbelieved.load(Relaxed)), (2, 0));
}

#[test]
fn every_rule_file_limit_path_and_build_makes_another_key() {
    let rules = digest_of_rules(RULE_FILES);
    let mut seen = std::collections::BTreeSet::from([rules]);
    for i in 0..RULE_FILES.len() {
        let mut files = RULE_FILES.to_vec();
        let text = format!("{}# one more line\n", files[i].1);
        files[i].1 = &text;
        assert!(seen.insert(digest_of_rules(&files)), "{}", RULE_FILES[i].0);
    }
    let limits = Limits::default();
    let here = basis(rules, &limits, b"build");
    let other = sha256(b"other");
    let looser = Limits { findings_max: 7, ..Limits::default() };
    for different in [basis(other, &limits, b"build"), basis(rules, &looser, b"build"), basis(rules, &limits, b"next")]
    {
        assert_ne!(different, here);
    }
    let key = about(here, "a.pkl", 3, other, false);
    for different in [
        about(here, "a.pt", 3, other, false),
        about(here, "a.pkl", 4, other, false),
        about(here, "a.pkl", 3, rules, false),
        about(here, "a.pkl", 3, other, true),
    ] {
        assert_ne!(different, key);
    }
}

#[test]
fn an_edited_a_swapped_and_a_foreign_entry_are_not_believed() {
    let (_state, cache) = cache();
    let (bad, bad_digest) = scanned("a.pkl", BAD);
    let (good, good_digest) = scanned("a.pkl", GOOD);
    cache.put(&bad, bad_digest, false);
    let [path] = entries(&cache).try_into().unwrap();
    let bytes = fs::read(&path).unwrap();
    let malicious = b"\"verdict\":\"malicious\"";
    let at = bytes.windows(malicious.len()).position(|window| window == malicious).unwrap();
    let mut edited = bytes.clone();
    edited.splice(at..at + malicious.len(), *b"\"verdict\":\"clean\"");
    let believed = || cache.get("a.pkl", bad.report.size, bad_digest, false).is_some();
    for wrong in [edited, bytes[..bytes.len() - 1].to_vec(), bytes[1..].to_vec(), Vec::new(), vec![b'0'; 2 << 20]] {
        fs::write(&path, wrong).unwrap();
        assert!(!believed());
    }
    fs::write(&path, &bytes).unwrap();
    assert!(believed());
    // An entry that is sound, about something else.
    cache.put(&good, good_digest, false);
    let other = entries(&cache).into_iter().find(|entry| *entry != path).unwrap();
    fs::copy(&other, &path).unwrap();
    assert!(!believed());
    // An entry of another machine, which a repository brought along, key and all.
    let (foreign_state, foreign) = self::cache();
    let clean = ScannedFile {
        report: ArtifactReport { verdict: Verdict::Clean, findings: Vec::new(), ..bad.report.clone() },
        ..good
    };
    foreign.put(&clean, bad_digest, false);
    let here = tempfile::tempdir().unwrap();
    fs::create_dir_all(here.path().join("keys")).unwrap();
    fs::create_dir_all(here.path().join("cache/verdicts")).unwrap();
    fs::copy(foreign_state.path().join("keys/cache.key"), here.path().join("keys/cache.key")).unwrap();
    let [entry] = entries(&foreign).try_into().unwrap();
    fs::copy(&entry, here.path().join("cache/verdicts").join(entry.file_name().unwrap())).unwrap();
    let cloned = Cache::open_in(here.path(), &Limits::default()).unwrap();
    assert!(foreign.get("a.pkl", bad.report.size, bad_digest, false).is_some());
    assert!(cloned.get("a.pkl", bad.report.size, bad_digest, false).is_none());
    assert_eq!(cloned.disbelieved.load(Relaxed), 1);
}

#[test]
fn what_could_not_be_judged_and_what_was_quick_is_not_kept() {
    let (_state, cache) = cache();
    let (cut, digest) = scanned("cut.pkl", &GOOD[..GOOD.len() - 3]);
    assert_eq!(cut.report.verdict, Verdict::Unscannable);
    cache.put(&cut, digest, false);
    let (mut both, digest) = scanned("bad.pkl", BAD);
    both.report.findings.push(Finding {
        rule: "content-undecodable".into(),
        severity: Severity::Medium,
        ..both.report.findings[0].clone()
    });
    cache.put(&both, digest, false);
    let (mut many, digest) = scanned("bad.pkl", BAD);
    many.report.findings_left_out = 1;
    cache.put(&many, digest, false);
    let (mut good, digest) = scanned("good.pkl", GOOD);
    good.keep = Some(Duration::from_micros(10));
    cache.put(&good, digest, false);
    good.keep = None;
    cache.put(&good, digest, false);
    assert!(entries(&cache).is_empty());
}

#[test]
fn the_oldest_entries_go_first() {
    let (_state, cache) = cache();
    let directory = &cache.store.directory;
    let now = SystemTime::now();
    for age in 0..8u64 {
        let file = fs::File::create(directory.join(age.to_string())).unwrap();
        file.set_len(10).unwrap();
        file.set_modified(now - Duration::from_secs(age)).unwrap();
    }
    let left = || {
        let mut left: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        left
    };
    cache.store.evict(&Bound { entries: 8, bytes: 80 });
    assert_eq!(left().len(), 8);
    cache.store.evict(&Bound { entries: 8, bytes: 40 });
    assert_eq!(left(), ["0", "1", "2"]);
    cache.store.evict(&Bound { entries: 1, bytes: 40 });
    assert!(left().is_empty());
}
