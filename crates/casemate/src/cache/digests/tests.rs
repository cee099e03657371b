//! What is kept, what is not believed, and what happens when a file changed behind its times.

#![cfg(unix)]

use std::fs;
use std::path::PathBuf;

use casemate_core::Seed;
use casemate_provenance::hash::HashChoice;
use casemate_provenance::manifest::Listing;
use clap::Parser as _;

use super::*;
use crate::cli::Cli;
use crate::config::Config;
use crate::exit::Exit;

struct Fixture {
    directory: tempfile::TempDir,
    context: Context,
    project: Project,
}

impl Fixture {
    /// A project with a ledger and a model of three files that were left alone for long enough.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        fs::create_dir_all(state.join("ledger")).unwrap();
        fs::create_dir_all(state.join("keys")).unwrap();
        fs::create_dir(directory.path().join("model")).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(directory.path().join("model").join(name), name).unwrap();
        }
        let project = Project {
            root: directory.path().into(),
            name: "test".into(),
            config: Config::parse("").unwrap(),
            config_text: String::new(),
            state,
        };
        let globals = Cli::parse_from(["casemate", "-q", "ledger", "verify"]).globals;
        std::thread::sleep(casemate_provenance::digests::LEFT_ALONE_MIN + std::time::Duration::from_millis(200));
        Self { directory, context: Context::new(globals).unwrap(), project }
    }

    fn model(&self) -> PathBuf {
        self.directory.path().join("model")
    }

    fn open(&self, per_million: u32) -> DigestCache {
        DigestCache::open(&self.context, Some(&self.project), &self.model(), Draw::new(per_million, Seed(1)))
    }

    /// Files read by a run that draws as many, and how it ended.
    fn run(&self, per_million: u32) -> (Account, Result<(), Failure>) {
        let cache = self.open(per_million);
        let listing = Listing::of_path(&self.model()).unwrap();
        let hashed = listing.hashes(HashChoice::Sha256, &|_| true, Some(cache.known()), &|_| ());
        let ended = hashed.map(|_| cache.close(&self.context, false)).map_err(|error| cache.failure(&error));
        (cache.known().account(), ended)
    }

    fn files_read(&self, per_million: u32) -> u64 {
        let (account, ended) = self.run(per_million);
        ended.unwrap();
        account.files_read
    }

    fn entries(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.project.state.join("cache/digests")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// What stands in the one entry.
    fn kept(&self) -> Vec<KnownDigest> {
        match self.open(0).store.unwrap().get(self.open(0).about) {
            Kept::Bytes(body) => serde_json::from_slice(&body).unwrap(),
            _ => Vec::new(),
        }
    }
}

#[test]
fn a_second_run_reads_nothing_and_a_full_one_everything() {
    let fixture = Fixture::new();
    assert_eq!([fixture.files_read(0), fixture.files_read(0), fixture.files_read(1_000_000)], [3, 0, 3]);
    assert_eq!(fixture.entries().len(), 1);
    fs::write(fixture.model().join("b"), "B").unwrap();
    assert_eq!(fixture.files_read(0), 1);
    // Written just now: not kept.
    assert_eq!(fixture.kept().len(), 2);
}

#[test]
fn a_hidden_change_is_exit_4_and_empties_the_cache() {
    let fixture = Fixture::new();
    fixture.files_read(0);
    let mut kept = fixture.kept();
    kept[1].digest.0[0] ^= 1;
    let cache = fixture.open(0);
    assert!(cache.store.as_ref().unwrap().put(cache.about, &serde_json::to_vec(&kept).unwrap()));
    assert!(cache.store.as_ref().unwrap().put(digest(&[b"another model"]), b"[]"));
    // Not drawn, not found.
    assert_eq!(fixture.files_read(0), 0);
    assert_eq!(fixture.entries().len(), 2);
    let failure = fixture.run(1_000_000).1.unwrap_err();
    assert_eq!(failure.exit, Exit::Integrity);
    assert!(failure.message.contains("other contents than when it was last read"), "{}", failure.message);
    assert!(fixture.entries().is_empty(), "what is known of other models lies on the same disk");
    assert_eq!(fixture.files_read(0), 3);
}

#[test]
fn what_is_not_ours_or_not_whole_is_ignored() {
    let fixture = Fixture::new();
    fixture.files_read(0);
    let [entry] = fixture.entries().try_into().unwrap();
    let bytes = fs::read(&entry).unwrap();
    let mut flipped = bytes.clone();
    flipped[100] ^= 1;
    for wrong in [flipped, bytes[..bytes.len() - 1].to_vec(), Vec::new(), vec![b'0'; 1000]] {
        fs::write(&entry, wrong).unwrap();
        assert_eq!(fixture.files_read(0), 3);
        assert_eq!(fixture.files_read(0), 0, "it was replaced");
    }
    // The entry of another model, sound in itself.
    let other = fixture.directory.path().join("other");
    fs::create_dir(&other).unwrap();
    let there = DigestCache::open(&fixture.context, Some(&fixture.project), &other, Draw::all());
    fs::copy(&entry, entry.with_file_name(there.about.to_string())).unwrap();
    let there = DigestCache::open(&fixture.context, Some(&fixture.project), &other, Draw::all());
    assert!(there.known().is_unchanged(), "nothing is known there");
    // The state of another machine, key and all: a copy is another file.
    let key = fixture.project.state.join("keys/cache.key");
    fs::copy(&key, key.with_extension("copy")).unwrap();
    fs::rename(key.with_extension("copy"), &key).unwrap();
    assert_eq!(fixture.files_read(0), 3);
}

#[test]
fn where_nothing_can_be_kept_everything_is_read() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.project.state.join("cache")).unwrap();
    fs::write(fixture.project.state.join("cache/digests"), "no directory").unwrap();
    assert_eq!([fixture.files_read(0), fixture.files_read(0)], [3, 3]);
    let without = DigestCache::open(&fixture.context, None, &fixture.model(), Draw::all());
    assert!(without.store.is_none());
    let no_ledger = Fixture::new();
    fs::remove_dir(no_ledger.project.state.join("ledger")).unwrap();
    assert_eq!([no_ledger.files_read(0), no_ledger.files_read(0)], [3, 3]);
    assert!(!no_ledger.project.state.join("cache").exists());
}

#[test]
fn shares_are_rounded_down() {
    for (share, text) in
        [(0.0, "0 %"), (0.005, "0.5 %"), (0.049, "4.9 %"), (0.12, "12 %"), (0.999, "99 %"), (1.0, "100 %")]
    {
        assert_eq!(percent(share), text);
    }
}
