//! Evidence that verification refuses what it must refuse: versions of a model that were altered or never approved, offered to
//! it in a private place, and the alerts that come of it.
//!
//! One signed file, the smallest, is copied into a directory nobody else may enter, and altered there; every other file counts
//! by the digest this very run read, so a model of any size is probed within a second. What is tried is the code of
//! `verify --watch`, from the signature to the line of the event. That a server asks it is for another probe to show.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use casemate_core::{Clock as _, Evidence, Fact, FileSource, Input, Method, Outcome, Source as _, SystemClock};
use casemate_provenance::keys::signing::{KeyType, SigningKey};
use casemate_provenance::manifest::Entry;
use casemate_provenance::oms::payload::{HashType, Signed};
use casemate_provenance::oms::{self, SignWith};
use casemate_provenance::{HashChoice, Manifest, hash, sha256};

use super::{ModelProbe, count, record};
use crate::context::{Context, Project};
use crate::exit::Failure;
use crate::verifying::SignatureFiles;
use crate::watching::event::Known;
use crate::watching::sinks::Sinks;
use crate::watching::{Believed, State, Target};

/// Largest file that is copied. A model has a configuration or a card that is smaller, or is one file.
const COPY_BYTES_MAX: u64 = 256 << 20;

/// Name of the file that nobody signed.
const ADDED: &str = "casemate-load-probe.py";

/// What the attempts came to.
#[derive(Default)]
struct Attempts {
    approved_loaded: bool,
    flipped_refused: bool,
    /// Signed by a key nobody trusts; and signed, with a file added.
    foreign_refused: bool,
    added_refused: bool,
    alerts_raised: usize,
    alert_seconds_max: f64,
    /// Whether the foreign version is a sound one: under its own key it verifies.
    foreign_is_sound: bool,
}

/// The record of what verification does with versions of a model nobody approved; where there is nothing to try, a record that
/// says what to do.
///
/// # Errors
/// When a key of `[trust]` cannot be read.
pub fn load_probe(probe: &ModelProbe<'_>) -> Result<Evidence, Failure> {
    let model = probe.model;
    let mut evidence = record("provenance.load-probe", "load-probe", probe.subject(), probe.project.span());
    evidence.method = Method::C;
    let trust = Believed::of(probe.project.project)?;
    let attempts = match &model.signature {
        None => Err(format!("the model names no signature; sign it with `casemate sign {}`", model.shown)),
        Some(_) if trust.is_nobody() => Err("`[trust]` of casemate.toml names no key".into()),
        Some(path) => SignatureFiles::read(path, None).map_err(|failure| failure.message).and_then(|files| {
            evidence.inputs = vec![Input { name: "signature".into(), digest: sha256(&files.bundle) }];
            let target = Target {
                name: model.name.clone(),
                path: model.path.clone(),
                signature: path.clone(),
                trust,
                strict: false,
            };
            attempt(probe, &target, &files)
        }),
    };
    let attempts = match attempts {
        Ok(attempts) => attempts,
        Err(reason) => {
            evidence.reason = Some(reason);
            return Ok(evidence);
        }
    };
    let unapproved_refused = attempts.foreign_refused && attempts.added_refused;
    let facts = [
        ("version_approved_loaded", Fact::Bool(attempts.approved_loaded)),
        ("byte_flipped_refused", Fact::Bool(attempts.flipped_refused)),
        ("version_unapproved_refused", Fact::Bool(unapproved_refused)),
        ("alerts_raised", count(attempts.alerts_raised)),
        ("alert_seconds_max", Fact::Number(attempts.alert_seconds_max)),
        ("self_test_planted", count(1)),
        ("self_test_caught", count(usize::from(attempts.foreign_is_sound))),
    ];
    evidence.facts = facts.map(|(name, fact)| (name.to_owned(), fact)).into();
    evidence.finished_at = probe.project.context.now();
    (evidence.outcome, evidence.reason) = match () {
        () if !attempts.foreign_is_sound => {
            (Outcome::Unknown, Some("the version made up for the probe does not verify under its own key".into()))
        }
        () if !attempts.approved_loaded => (Outcome::Fail, Some("the model itself is not as signed".into())),
        () if attempts.flipped_refused && unapproved_refused && attempts.alerts_raised == 3 => (Outcome::Pass, None),
        () => (Outcome::Fail, Some("a version nobody approved was accepted, or no alert came of it".into())),
    };
    Ok(evidence)
}

/// Offers each version to verification. What cannot be tried is said in the error.
fn attempt(probe: &ModelProbe<'_>, target: &Target, files: &SignatureFiles) -> Result<Attempts, String> {
    let Ok(opened) = target.trust.open(files) else {
        return Ok(Attempts { foreign_is_sound: true, ..Attempts::default() });
    };
    let manifest = probe.manifest;
    let at = smallest(&opened.signed, manifest)?;
    let place = PrivatePlace::make(probe.project.project)?;
    let said = |error: std::io::Error| format!("the private copy: {error}");
    let copy = place.path("copy");
    let touched = manifest.entries.get(at).ok_or("the model changed")?;
    let original = if touched.path == "." { target.path.clone() } else { target.path.join(&touched.path) };
    let mut contents = FileSource::open(&original).and_then(|source| read_whole(&source)).map_err(said)?;
    let version = |contents: &[u8]| -> Result<Manifest, String> {
        fs::write(&copy, contents).map_err(said)?;
        let mut version = manifest.clone();
        let entry = entry_of(&touched.path, &copy).map_err(said)?;
        version.entries.get_mut(at).into_iter().for_each(|old| *old = entry.clone());
        Ok(version)
    };
    let mut offering = Offering::new(probe.project.context, target, place.path("events"))?;

    let approved = version(&contents)?;
    let mut attempts =
        Attempts { approved_loaded: offering.offer(target, files, &approved) == State::Intact, ..Attempts::default() };
    let middle = contents.len() / 2;
    contents.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
    let flipped = version(&contents)?;
    attempts.flipped_refused = offering.offer(target, files, &flipped) != State::Intact;
    offering.offer(target, files, &approved);

    let key = SigningKey::generate(KeyType::EcdsaP256).map_err(|error| error.to_string())?;
    let foreign = SignatureFiles { bundle: foreign(&opened.signed, &flipped, &touched.path, &key)?, pq: None };
    attempts.foreign_refused = offering.offer(target, &foreign, &flipped) != State::Intact;
    let own = Target { trust: Believed::key(key.public().clone()), ..target.clone() };
    attempts.foreign_is_sound = own.judged(&foreign, Ok(&flipped)).state == State::Intact || !attempts.approved_loaded;
    offering.offer(target, files, &approved);

    let mut added = approved.clone();
    fs::write(place.path("added"), "print('added')\n").map_err(said)?;
    added.entries.push(entry_of(ADDED, &place.path("added")).map_err(said)?);
    attempts.added_refused = offering.offer(target, files, &added) != State::Intact;
    attempts.alert_seconds_max = offering.seconds_max;
    attempts.alerts_raised = offering.alerts()?;
    Ok(attempts)
}

/// The signature a stranger would put on the flipped version.
fn foreign(signed: &Signed, flipped: &Manifest, touched: &str, key: &SigningKey) -> Result<Vec<u8>, String> {
    let mut signed = signed.clone();
    let entry = flipped.entries.iter().find(|entry| entry.path == touched).ok_or("the model changed")?;
    for resource in signed.resources.iter_mut().filter(|resource| resource.name == touched) {
        resource.digest = match signed.hash_type {
            HashType::Sha256 => entry.sha256,
            HashType::Blake3 => entry.blake3,
        };
    }
    signed.required_signatures.clear();
    oms::sign(signed, SignWith { key, pq_key: None, certificates: &[] }).map_err(|error| error.to_string())
}

/// Place in the manifest of the smallest signed file that holds anything.
fn smallest(signed: &Signed, manifest: &Manifest) -> Result<usize, String> {
    let entries = manifest.entries.iter().enumerate();
    let signed = entries.filter(|(_, entry)| signed.resources.iter().any(|resource| resource.name == entry.path));
    let small = signed.filter(|(_, entry)| (1..=COPY_BYTES_MAX).contains(&entry.size_bytes));
    small.min_by_key(|(_, entry)| entry.size_bytes).map(|(at, _)| at).ok_or_else(|| {
        format!("no signed file of the model has 1 to {} MiB, to be copied and altered", COPY_BYTES_MAX >> 20)
    })
}

fn read_whole(source: &FileSource) -> std::io::Result<Vec<u8>> {
    use casemate_core::SourceExt as _;
    if source.size_bytes() > COPY_BYTES_MAX {
        return Err(std::io::Error::other("it grew while it was looked at"));
    }
    source.bytes_at(0, source.size_bytes())
}

fn entry_of(name: &str, path: &Path) -> std::io::Result<Entry> {
    let hashes = hash::hash(&FileSource::open(path)?, HashChoice::Sha256AndBlake3, &|_| ())?;
    let none = || std::io::Error::other("no digest came back");
    Ok(Entry {
        path: name.into(),
        size_bytes: hashes.size_bytes,
        sha256: hashes.sha256.ok_or_else(none)?,
        blake3: hashes.blake3.ok_or_else(none)?,
    })
}

/// One version after the other, and what is told of them.
struct Offering<'a> {
    context: &'a Context,
    sinks: Sinks,
    known: Known,
    events: PathBuf,
    seconds_max: f64,
}

impl<'a> Offering<'a> {
    fn new(context: &'a Context, target: &Target, events: PathBuf) -> Result<Self, String> {
        let mut sinks = Sinks::new().silently();
        sinks.add_file(&events).map_err(|failure| format!("model `{}`: {}", target.name, failure.message))?;
        Ok(Self { context, sinks, known: Known::default(), events, seconds_max: 0.0 })
    }

    fn offer(&mut self, target: &Target, files: &SignatureFiles, manifest: &Manifest) -> State {
        let began = Instant::now();
        let judgement = target.judged(files, Ok(manifest));
        let state = judgement.state;
        let of = (target.name.as_str(), target.path.as_path(), target.signature.as_path());
        if let Some(event) = self.known.news(judgement, of, SystemClock.now()) {
            self.sinks.raise(self.context, &event);
            if event.is_alert() {
                self.seconds_max = self.seconds_max.max(began.elapsed().as_secs_f64());
            }
        }
        state
    }

    /// Alerts that arrived, read from where they were to arrive.
    fn alerts(&self) -> Result<usize, String> {
        let text = fs::read_to_string(&self.events).map_err(|error| format!("the events: {error}"))?;
        let is_alert = |line: &&str| {
            let event: Option<serde_json::Value> = serde_json::from_str(line).ok();
            event.is_some_and(|event| event.get("state").is_some_and(|state| state == "altered"))
        };
        Ok(text.lines().filter(is_alert).count())
    }
}

/// A directory nobody else may enter, gone in the end.
struct PrivatePlace(PathBuf);

impl PrivatePlace {
    fn make(project: &Project) -> Result<Self, String> {
        let name = format!("load-probe-{}-{}", std::process::id(), SystemClock.now().unix_ms());
        let path = project.state.join(name);
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for PrivatePlace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            let _ = writeln!(std::io::stderr().lock(), "casemate: `{}` was left behind: {error}", self.0.display());
        }
    }
}
