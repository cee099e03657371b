//! Manifests of real directories: names, links, changes while hashing.

use std::fs;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::digests::{Draw, KnownDigests};

fn tree(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn manifest(dir: &TempDir) -> Result<Manifest, Error> {
    Manifest::of_path(dir.path(), &|_| {})
}

fn paths(manifest: &Manifest) -> Vec<&str> {
    manifest.entries.iter().map(|entry| entry.path.as_str()).collect()
}

#[test]
fn files_are_sorted_by_component_and_hashed() {
    let dir = tree(&[("x-y", "1"), ("x/y", "22"), ("empty", ""), ("x/.git/config", "kept: not at the root")]);
    let manifest = manifest(&dir).unwrap();
    // A byte sort of whole names would put `x-y` first.
    assert_eq!(paths(&manifest), ["empty", "x/.git/config", "x/y", "x-y"]);
    let last = &manifest.entries[3];
    assert_eq!((last.size_bytes, last.sha256), (1, hash::sha256(b"1")));
    assert_eq!(last.blake3, Digest(*blake3::hash(b"1").as_bytes()));
    assert_eq!(manifest.size_bytes(), 1 + 2 + 21);
}

#[test]
fn tool_directories_at_the_root_are_skipped_by_name() {
    let dir = tree(&[("model.bin", "m"), (".git/HEAD", "h"), (".casemate/ledger/checkpoint", "c")]);
    let manifest = manifest(&dir).unwrap();
    assert_eq!(paths(&manifest), ["model.bin"]);
    assert_eq!(manifest.skipped.iter().map(|s| s.path.as_str()).collect::<Vec<_>>(), [".casemate", ".git"]);
}

#[test]
fn a_single_file_is_a_model_whose_name_does_not_count() {
    let dir = tree(&[("a.bin", "same"), ("b.bin", "same")]);
    let of = |name: &str| Manifest::of_path(&dir.path().join(name), &|_| {}).unwrap();
    assert_eq!(paths(&of("a.bin")), ["."]);
    assert_eq!(of("a.bin").name, "a.bin");
    assert_eq!(of("a.bin").digest(), of("b.bin").digest());
}

#[test]
fn identity_changes_with_names_and_with_contents() {
    let base = manifest(&tree(&[("a", "1"), ("b", "2")])).unwrap().digest();
    assert_eq!(manifest(&tree(&[("b", "2"), ("a", "1")])).unwrap().digest(), base);
    for other in [&[("a", "1"), ("c", "2")], &[("a", "2"), ("b", "1")], &[("a", "1"), ("b", "3")]] {
        assert_ne!(manifest(&tree(other)).unwrap().digest(), base, "{other:?}");
    }
    let moved = Manifest { name: "elsewhere".into(), ..manifest(&tree(&[("a", "1"), ("b", "2")])).unwrap() };
    assert_eq!(moved.digest(), base, "the directory's own name is not part of the identity");
}

#[test]
fn the_canonical_form_is_the_documented_one() {
    let dir = tree(&[("a", "1")]);
    let mut form = b"casemate-manifest-v1\0".to_vec();
    form.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 1]);
    form.extend(hash::sha256(b"1").0);
    assert_eq!(manifest(&dir).unwrap().digest(), hash::sha256(&form));
}

#[test]
fn names_that_fold_to_one_are_reported_once() {
    let dir = tree(&[("A/x", "1"), ("A/z", "1"), ("a/y", "2"), ("a/w", "2"), ("README", "3"), ("readme", "4")]);
    let found = manifest(&dir).unwrap().collisions;
    let pairs: Vec<_> = found.iter().map(|c| (c.path.as_str(), c.other.as_str())).collect();
    assert_eq!(pairs, [("A", "a"), ("README", "readme")]);
}

#[test]
fn an_empty_directory_and_a_missing_one_have_no_manifest() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(manifest(&dir), Err(Error::Empty { .. })));
    let missing = Manifest::of_path(&dir.path().join("none"), &|_| {});
    assert!(matches!(missing, Err(Error::Unreadable { path, .. }) if path.ends_with("none")));
}

#[test]
fn progress_ends_at_the_bytes_of_all_files() {
    let big = "x".repeat(3 << 20);
    let dir = tree(&[("a", &big), ("b", "123")]);
    let seen = Mutex::new(Vec::new());
    Manifest::of_path(dir.path(), &|bytes| seen.lock().unwrap().push(bytes)).unwrap();
    assert_eq!(seen.into_inner().unwrap().into_iter().max(), Some((3 << 20) + 3));
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_link_that_stays_inside_is_followed_under_its_own_name() {
        let dir = tree(&[("blobs/abc", "weights")]);
        fs::create_dir(dir.path().join("snapshot")).unwrap();
        symlink("../blobs/abc", dir.path().join("snapshot/model.bin")).unwrap();
        symlink("blobs", dir.path().join("linked")).unwrap();
        let manifest = manifest(&dir).unwrap();
        assert_eq!(paths(&manifest), ["blobs/abc", "linked/abc", "snapshot/model.bin"]);
        assert!(manifest.entries.iter().all(|entry| entry.sha256 == hash::sha256(b"weights")));
    }

    #[test]
    fn a_link_that_leaves_the_root_is_refused() {
        let outside = tree(&[("secret", "s")]);
        let dir = tree(&[("model", "m")]);
        symlink(outside.path().join("secret"), dir.path().join("link")).unwrap();
        assert!(matches!(manifest(&dir), Err(Error::LinkLeavesRoot { path, .. }) if path.ends_with("link")));
    }

    #[test]
    fn looping_and_dangling_links_are_refused() {
        for (target, link) in [("..", "sub/up"), (".", "here"), ("me", "me"), ("sub", "sub/again")] {
            let dir = tree(&[("sub/model", "m")]);
            let target = if target == "sub" { dir.path().join("sub") } else { target.into() };
            symlink(target, dir.path().join(link)).unwrap();
            assert!(matches!(manifest(&dir), Err(Error::LinkLoops { path }) if path.ends_with(link)), "{link}");
        }
        let dir = tree(&[("model", "m")]);
        symlink("nowhere", dir.path().join("link")).unwrap();
        let message = manifest(&dir).unwrap_err().to_string();
        assert!(message.contains("`nowhere` does not exist"), "{message}");
    }

    #[test]
    fn sockets_odd_names_and_depth_are_refused() {
        let dir = tree(&[("model", "m")]);
        let _socket = UnixListener::bind(dir.path().join("socket")).unwrap();
        assert!(matches!(manifest(&dir), Err(Error::SpecialFile { path }) if path.ends_with("socket")));

        let dir = tree(&[("a\\b", "m")]);
        assert!(matches!(manifest(&dir), Err(Error::NameWithBackslash { .. })));

        let dir = tree(&[("model", "m")]);
        fs::write(dir.path().join(OsStr::from_bytes(b"bad\xff")), "x").unwrap();
        assert!(matches!(manifest(&dir), Err(Error::NameNotUtf8 { .. })));

        let dir = tree(&[("model", "m")]);
        fs::create_dir_all(dir.path().join("d/".repeat(DEPTH_MAX))).unwrap();
        assert!(matches!(manifest(&dir), Err(Error::TooDeep { .. })));
    }

    #[test]
    fn a_file_that_changes_while_it_is_hashed_is_refused() {
        let dir = tree(&[("model", &"x".repeat(3 << 20))]);
        let path = dir.path().join("model");
        let result = Manifest::of_path(dir.path(), &|_| fs::write(&path, "short").unwrap());
        assert!(matches!(result, Err(Error::Changed { path }) if path.ends_with("model")));

        fs::write(&path, "x".repeat(10)).unwrap();
        let result = Manifest::of_path(dir.path(), &|_| fs::write(&path, "y".repeat(10)).unwrap());
        assert!(matches!(result, Err(Error::Changed { .. })), "same size, other bytes");
    }

    /// Every way a file is hashed: by one thread or several, alone or among others, each choice of hashes, known before or not.
    #[test]
    fn a_file_that_changes_is_refused_however_it_is_hashed() {
        let later = SystemTime::now() + Duration::from_secs(100);
        for (bytes, beside) in [(10, 0), (5 << 20, 0), (17 << 20, 0), (17 << 20, 6 << 20)] {
            let dir = tree(&[("beside", &"y".repeat(beside)), ("model", &"x".repeat(bytes))]);
            let path = dir.path().join("model");
            let listing = Listing::of_path(dir.path()).unwrap();
            for choice in [HashChoice::Sha256, HashChoice::Blake3, HashChoice::Sha256AndBlake3] {
                let first = KnownDigests::new([], Draw::all(), later);
                listing.hashes(choice, &|_| true, Some(&first), &|_| ()).unwrap();
                let again = KnownDigests::new(first.for_next_run(false), Draw::all(), later + Duration::from_secs(1));
                for known in [None, Some(&again)] {
                    let touch =
                        |_| fs::File::options().append(true).open(&path).unwrap().set_len(bytes as u64).unwrap();
                    let touch = |done| {
                        // The clock of inodes ticks every few milliseconds.
                        std::thread::sleep(Duration::from_millis(5));
                        touch(done);
                    };
                    let result = listing.hashes(choice, &|name| name == "model", known, &touch);
                    assert!(matches!(result, Err(Error::Changed { path }) if path.ends_with("model")), "{choice:?}");
                }
            }
        }
    }

    #[test]
    fn many_threads_give_what_one_gives_in_order() {
        let dir = tree(&[("big", &"b".repeat(40 << 20)), ("huge", &"h".repeat(17 << 20)), ("small", "s")]);
        for n in 0..50 {
            fs::write(dir.path().join(format!("{n:03}")), vec![7; n * 10_000]).unwrap();
        }
        let listing = Listing::of_path(dir.path()).unwrap();
        let seen = Mutex::new(0);
        let progress = |done| {
            let mut seen = seen.lock().unwrap();
            *seen = u64::max(*seen, done);
        };
        let hashes = listing.hashes(HashChoice::Sha256AndBlake3, &|_| true, None, &progress).unwrap();
        for ((_, path), hashes) in listing.files.iter().zip(&hashes) {
            let bytes = fs::read(path).unwrap();
            let expected = Hashes {
                size_bytes: bytes.len() as u64,
                sha256: Some(hash::sha256(&bytes)),
                blake3: Some(Digest(*blake3::hash(&bytes).as_bytes())),
            };
            assert_eq!(*hashes, Some(expected), "{}", path.display());
        }
        assert_eq!(seen.into_inner().unwrap(), hashes.iter().flatten().map(|hashes| hashes.size_bytes).sum::<u64>());
    }
}

proptest! {
    #[test]
    fn manifests_with_other_entries_have_other_digests(
        a in proptest::collection::vec(("[a/]{1,4}", 0u64..3), 0..4),
        b in proptest::collection::vec(("[a/]{1,4}", 0u64..3), 0..4),
    ) {
        let build = |list: &[(String, u64)]| Manifest {
            name: String::new(),
            entries: list.iter().map(|(path, size)| Entry {
                path: path.clone(), size_bytes: *size, sha256: Digest([0; 32]), blake3: Digest([0; 32]),
            }).collect(),
            skipped: Vec::new(),
            collisions: Vec::new(),
        };
        prop_assert_eq!(a == b, build(&a).digest() == build(&b).digest());
    }
}

#[test]
fn a_snapshot_notices_what_is_added_replaced_or_written_to() {
    let changes: [fn(&Path); 4] = [
        |root| fs::write(root.join("added"), b"x").unwrap(),
        |root| fs::remove_file(root.join("b")).unwrap(),
        |root| fs::write(root.join("a"), b"other").unwrap(),
        |root| {
            fs::write(root.join("new"), b"one").unwrap();
            fs::rename(root.join("new"), root.join("a")).unwrap();
        },
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), b"one").unwrap();
        fs::write(dir.path().join("b"), b"two").unwrap();
        let snapshot = Snapshot::take(dir.path(), None, &|_| ()).unwrap();
        snapshot.still_holds().unwrap();
        change(dir.path());
        assert!(matches!(snapshot.still_holds(), Err(Error::Changed { .. })), "change {n}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_is_settled_once_it_was_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, "x").unwrap();
    // Its times can be set back, the time of its inode cannot.
    let old = SystemTime::now() - Duration::from_secs(1000);
    fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    let stamp = Stamp::of(&fs::metadata(&path).unwrap());
    let now = SystemTime::now();
    assert!(!stamp.is_settled(now, Duration::from_secs(500)));
    assert!(stamp.is_settled(now + Duration::from_secs(600), Duration::from_secs(500)));
    assert!(!stamp.is_settled(now - Duration::from_secs(600), Duration::from_secs(500)));
}

#[test]
fn one_file_has_the_identity_of_its_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.onnx");
    fs::write(&path, b"content").unwrap();
    let manifest = Manifest::of_path(&path, &|_| ()).unwrap();
    assert_eq!(Manifest::digest_of_file(7, manifest.entries[0].sha256), manifest.digest());
    assert_ne!(Manifest::digest_of_file(8, manifest.entries[0].sha256), manifest.digest());
}
