//! What is believed of earlier runs, what is read in spite of it, and what that finds.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::hash::sha256;
use crate::manifest::{Error, Listing};

const NONE: u32 = 0;

/// A time at which files written just now have been left alone for long enough.
fn later(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(100 + seconds)
}

fn model(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, contents)| fs::write(dir.path().join(name), contents).unwrap());
    dir
}

fn hashed(dir: &Path, known: &KnownDigests) -> Result<Vec<Hashes>, Error> {
    let listing = Listing::of_path(dir)?;
    let hashes = listing.hashes(HashChoice::Sha256AndBlake3, &|_| true, Some(known), &|_| ())?;
    Ok(hashes.into_iter().flatten().collect())
}

/// What a first run over `dir` leaves to the next.
fn learned(dir: &Path) -> Vec<KnownDigest> {
    let known = KnownDigests::new([], Draw::all(), later(0));
    hashed(dir, &known).unwrap();
    known.for_next_run(false)
}

fn next(known: &[KnownDigest], per_million: u32) -> KnownDigests {
    KnownDigests::new(known.iter().copied(), Draw::new(per_million, Seed(7)), later(10))
}

#[cfg(unix)]
proptest! {
    #[test]
    fn what_is_known_and_what_is_read_are_the_same(
        contents in proptest::collection::vec(".{0,40}", 1..8),
        per_million in 0u32..=1_000_000,
        seed: u64,
    ) {
        let names: Vec<String> = (0..contents.len()).map(|n| n.to_string()).collect();
        let files: Vec<(&str, &str)> =
            names.iter().zip(&contents).map(|(name, contents)| (name.as_str(), contents.as_str())).collect();
        let dir = model(&files);
        let full = KnownDigests::new([], Draw::all(), later(0));
        let expected = hashed(dir.path(), &full).unwrap();
        let known = KnownDigests::new(full.for_next_run(false), Draw::new(per_million, Seed(seed)), later(10));
        prop_assert_eq!(hashed(dir.path(), &known).unwrap(), expected);
        let (account, n) = (known.account(), contents.len() as u64);
        prop_assert_eq!((account.files, account.files_read + account.files_from_cache), (n, n));
        prop_assert_eq!(account.files_read, account.files_drawn);
        let bytes: u64 = contents.iter().map(|contents| contents.len() as u64).sum();
        prop_assert_eq!(account.bytes_read + account.bytes_from_cache, bytes);
    }

    #[test]
    fn as_many_are_drawn_as_the_share_says(n in 0usize..500, per_million in 0u32..=1_000_000, seed: u64) {
        let drawn = Draw::new(per_million, Seed(seed)).of(n).into_iter().filter(|drawn| *drawn).count();
        let exact = n as u64 * u64::from(per_million);
        let least = usize::try_from(exact / 1_000_000).unwrap();
        prop_assert!(drawn == least || drawn == least + 1 && !exact.is_multiple_of(1_000_000));
    }
}

#[cfg(unix)]
#[test]
fn whatever_touches_a_file_makes_it_unknown() {
    type Touch = fn(&Path);
    let touches: [(&str, Touch); 5] = [
        ("written", |path| fs::write(path, "beyond").unwrap()),
        ("touched", |path| set_modified(path, SystemTime::now() + Duration::from_secs(5))),
        ("replaced, same size and times", |path| {
            let other = path.with_extension("new");
            fs::write(&other, "beside").unwrap();
            set_modified(&other, fs::metadata(path).unwrap().modified().unwrap());
            fs::rename(other, path).unwrap();
        }),
        // As `touch -d` does: size and time of the contents are as before, the time of the inode is not.
        ("written, same size, time set back", |path| {
            let before = fs::metadata(path).unwrap().modified().unwrap();
            fs::write(path, "BESIDE").unwrap();
            set_modified(path, before);
        }),
        ("mode", |path| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(path, mode).unwrap();
        }),
    ];
    for (what, touch) in touches {
        let dir = model(&[("a", "first"), ("b", "beside")]);
        let known = learned(dir.path());
        assert_eq!(known.len(), 4);
        // The clock of inodes ticks every few milliseconds.
        std::thread::sleep(Duration::from_millis(30));
        touch(&dir.path().join("b"));
        let known = next(&known, NONE);
        let hashes = hashed(dir.path(), &known).unwrap();
        let account = known.account();
        assert_eq!((account.files_from_cache, account.files_read, account.files_drawn), (1, 1, 0), "{what}");
        let holds = fs::read(dir.path().join("b")).unwrap();
        assert_eq!(hashes[1].sha256, Some(sha256(&holds)), "{what}");
    }
}

#[cfg(unix)]
fn set_modified(path: &Path, time: SystemTime) {
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// A byte that changed below the file system: what is known of the file is what it held before, its stamp is the same.
#[cfg(unix)]
#[test]
fn a_change_behind_the_same_stamp_is_found_where_the_file_is_drawn_and_nowhere_else() {
    let dir = model(&[("a", "first"), ("b", "second"), ("c", "third")]);
    let mut known = learned(dir.path());
    let changed = sha256(b"second");
    for one in known.iter_mut().filter(|one| one.digest == changed) {
        one.digest = sha256(b"sEcond");
    }
    let unread = hashed(dir.path(), &next(&known, NONE)).unwrap();
    assert_eq!(unread[1].sha256, Some(sha256(b"sEcond")));
    let error = hashed(dir.path(), &next(&known, 1_000_000)).unwrap_err();
    assert!(matches!(&error, Error::ChangedUnseen { path, more: 0 } if path.ends_with("b")), "{error}");
    // One of three is drawn, by many seeds: found as often as the file is drawn.
    let found = |seed: &u64| {
        let draw = Draw::new(333_333, Seed(*seed));
        let known = KnownDigests::new(known.iter().copied(), draw, later(10));
        let is_found = hashed(dir.path(), &known).is_err();
        assert_eq!(is_found, draw.of(3)[1]);
        is_found
    };
    let found = (0..600).filter(found).count();
    assert!((150..250).contains(&found), "{found} of 600");
}

#[test]
fn the_chance_to_notice_is_that_of_the_draw() {
    let draw = |per_million| Draw::new(per_million, Seed(1));
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
    near(draw(120_000).chance(100, 1), 0.12);
    // 1 - C(90,12)/C(100,12)
    near(draw(120_000).chance(100, 10), 0.739_249_731_078);
    near(draw(5_000).chance(100, 1), 0.005);
    near(draw(5_000).chance(1, 1), 0.005);
    near(draw(5_000).chance(1, 10), 0.005);
    near(Draw::all().chance(3, 1), 1.0);
    near(draw(NONE).chance(3, 3), 0.0);
    near(draw(5_000).chance(0, 1), 0.0);
    // Against the draw itself: 2 of 7 files changed, 0.3 of 7 drawn.
    let draws = 20_000;
    let noticed = (0..draws).filter(|seed| Draw::new(300_000, Seed(*seed)).of(7)[..2].contains(&true)).count();
    #[expect(clippy::cast_precision_loss, reason = "small")]
    let share = noticed as f64 / draws as f64;
    assert!((share - draw(300_000).chance(7, 2)).abs() < 0.015, "{share}");
}

#[cfg(unix)]
#[test]
fn what_was_touched_just_now_is_not_kept_and_what_was_read_long_ago_is_not_believed() {
    let dir = model(&[("a", "first")]);
    for seconds in [0, 2] {
        let known = KnownDigests::new([], Draw::all(), SystemTime::now() + Duration::from_secs(seconds));
        hashed(dir.path(), &known).unwrap();
        assert!(known.for_next_run(false).is_empty(), "{seconds}");
    }
    let known = learned(dir.path());
    let read = |now: SystemTime| {
        let known = KnownDigests::new(known.iter().copied(), Draw::new(NONE, Seed(1)), now);
        hashed(dir.path(), &known).unwrap();
        known.account().files_read
    };
    assert_eq!(read(later(1)), 0);
    assert_eq!(read(later(0) + AGE_MAX - Duration::from_secs(1)), 0);
    assert_eq!(read(later(0) + AGE_MAX + Duration::from_secs(1)), 1);
    assert_eq!(read(SystemTime::now()), 1, "read in the future");
}

#[cfg(unix)]
#[test]
fn a_run_over_some_files_keeps_what_is_known_of_the_others() {
    let dir = model(&[("a", "first"), ("b", "second")]);
    let known = next(&learned(dir.path()), 1_000_000);
    let listing = Listing::of_path(dir.path()).unwrap();
    let hashes = listing.hashes(HashChoice::Sha256, &|name| name == "a", Some(&known), &|_| ()).unwrap();
    assert_eq!(hashes[1], None);
    assert_eq!((known.account().files, known.account().bytes_read), (1, 5));
    assert_eq!(known.for_next_run(true).len(), 4);
    // Not computed now, and not to be mixed with what was.
    assert_eq!(known.for_next_run(false).len(), 1);
    assert!(!known.is_unchanged());
    let untouched = next(&learned(dir.path()), NONE);
    hashed(dir.path(), &untouched).unwrap();
    assert!(untouched.is_unchanged());
}
