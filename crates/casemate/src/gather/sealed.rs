//! Evidence about encryption at rest: what was sealed, and whether what is stored is that and opens for nobody else.

use std::path::{Path, PathBuf};

use casemate_artifact::Scanner;
use casemate_core::{
    Digest, Evidence, Fact, FileSource, Input, Limits, MemorySource, Outcome, Secret, Subject, SubjectKind, Timestamp,
};
use casemate_provenance::seal::age::AgeIdentity;
use casemate_provenance::seal::hybrid::HybridKey;
use casemate_provenance::seal::key_file::{KEY_FILE_BYTES_MAX, parse_keys};
use casemate_provenance::seal::passphrase::Passphrase;
use casemate_provenance::seal::place::set_digest;
use casemate_provenance::seal::wrap::{KeyWrapper, Recipient};
use casemate_provenance::seal::{Container, Error, LocalKey, SealSettings, seal};

use super::{ModelProbe, count, record};
use crate::exit::Failure;
use crate::sealing::{borrowed, is_sealed};
use crate::walk::walk;

/// Kind of the record `seal` appends.
pub const KIND_SEAL: &str = "provenance.seal";
/// Kind of the record about what is stored.
pub const KIND_SEALED: &str = "provenance.sealed";
/// Name of the input that stands for the sealed files.
const CONTENT: &str = "sealed-content";

/// A model that was sealed.
pub struct SealedModel<'a> {
    /// Its name.
    pub name: &'a str,
    /// The digest of its plaintext manifest.
    pub digest: Digest,
    /// What stands for the sealed files.
    pub set: Digest,
    /// How many files.
    pub files: usize,
    /// How many keys open each.
    pub keys: usize,
}

/// The record that links a model with what it was sealed into.
pub fn seal_record(model: &SealedModel<'_>, span: (Timestamp, Timestamp)) -> Evidence {
    let subject = Subject { kind: SubjectKind::Model, name: model.name.into(), digest: model.digest };
    let mut evidence = record(KIND_SEAL, "seal", subject, span);
    evidence.facts =
        [("files", count(model.files)), ("keys", count(model.keys))].map(|(name, fact)| (name.to_owned(), fact)).into();
    evidence.inputs = vec![Input { name: CONTENT.into(), digest: model.set }];
    evidence.outcome = Outcome::Pass;
    evidence
}

/// What lies where a model is stored.
#[derive(Default)]
struct Stored {
    sealed: Vec<PathBuf>,
    unsealed: Vec<PathBuf>,
    /// What could not be looked at.
    unseen: Option<String>,
}

/// The record of what is stored of a model: sealed or not, with its keys elsewhere or not.
///
/// # Errors
/// None.
pub fn sealed(probe: &ModelProbe<'_>) -> Result<Evidence, Failure> {
    let mut evidence = record(KIND_SEALED, "sealed", probe.subject(), probe.project.span());
    let places = places(probe);
    let stored = stored(&places);
    let mut digests = Vec::new();
    let mut broken = None;
    for path in &stored.sealed {
        match digest(path) {
            Ok(digest) => digests.push(digest),
            Err(error) => broken = Some(format!("`{}`: {error}", path.display())),
        }
    }
    let plain = stored.unsealed.iter().filter(|path| is_weights(path)).count();
    let strangers = strangers();
    let refused = strangers.as_ref().map(|strangers| stored.sealed.iter().all(|path| is_refused(path, strangers)));
    let beside = if stored.sealed.is_empty() { Some(0) } else { keys_beside(probe, &places, &stored.sealed) };
    let tested = right_key_opens();
    let facts = [
        ("objects", count(stored.sealed.len() + stored.unsealed.len())),
        ("objects_unsealed", count(stored.unsealed.len())),
        ("tensor_headers_plain", count(plain)),
        ("keys_beside", count(beside.unwrap_or(0))),
        ("decrypt_without_grant_refused", Fact::Bool(refused == Some(true) && !stored.sealed.is_empty())),
        ("self_test_planted", Fact::Count(1)),
        ("self_test_caught", Fact::Count(u64::from(tested))),
    ];
    evidence.facts = facts.map(|(name, fact)| (name.to_owned(), fact)).into();
    let set = set_digest(&digests);
    evidence.inputs = vec![Input { name: CONTENT.into(), digest: set }];
    let unknown = |reason: String| (Outcome::Unknown, Some(reason));
    let fail = |reason: String| (Outcome::Fail, Some(reason));
    (evidence.outcome, evidence.reason) = match () {
        () if !tested => unknown("the planted container did not open with its own key, or opened with another".into()),
        () if stored.unseen.is_some() => unknown(stored.unseen.unwrap_or_default()),
        () if !stored.unsealed.is_empty() => fail(format!(
            "{} of {} stored files are not sealed; `casemate seal PATH -o OUT --key KEY`, then name OUT as `stored` in its `[[model]]`",
            stored.unsealed.len(),
            stored.sealed.len() + stored.unsealed.len()
        )),
        () if stored.sealed.is_empty() => unknown("nothing is stored where the model is said to be".into()),
        () if broken.is_some() => unknown(broken.unwrap_or_default()),
        () if beside.is_some_and(|keys| keys > 0) => fail("a key that opens it lies beside it".into()),
        () if beside.is_none() => unknown("too many files to look for keys among".into()),
        () if refused == Some(false) => fail("a key made up for the purpose opened it".into()),
        () if refused.is_none() => unknown("no keys could be made up to try".into()),
        () if !is_recorded(probe, set) => unknown(
            "what is stored is not what the ledger recorded for this model; seal it here with `casemate seal`, which records it".into(),
        ),
        () => (Outcome::Pass, None),
    };
    if evidence.outcome == Outcome::Unknown {
        // The predicate reads facts: without the whole picture none of them may satisfy it.
        evidence.facts.insert("decrypt_without_grant_refused".into(), Fact::Bool(false));
    }
    Ok(evidence)
}

/// Where the model lies at rest: where it is said to, else where it is.
fn places(probe: &ModelProbe<'_>) -> Vec<PathBuf> {
    let stored = probe.model.declared.as_ref().map(|declared| declared.stored.as_slice()).unwrap_or_default();
    match stored.is_empty() {
        true => vec![probe.model.path.clone()],
        false => stored.iter().map(|path| probe.project.project.root.join(path)).collect(),
    }
}

fn stored(places: &[PathBuf]) -> Stored {
    let mut stored = Stored::default();
    for place in places {
        let walked = walk(".", place);
        for skipped in walked.skipped.iter().filter(|skipped| skipped.matters) {
            stored.unseen = Some(format!("`{}` in `{}`: {}", skipped.path, place.display(), skipped.reason));
        }
        let (sealed, unsealed): (Vec<_>, Vec<_>) =
            walked.files.into_iter().map(|(_, path)| path).partition(|path| is_sealed(path));
        stored.sealed.extend(sealed);
        stored.unsealed.extend(unsealed);
    }
    stored
}

/// The digest of a sealed file that has keys and a sound shape.
fn digest(path: &Path) -> Result<Digest, Error> {
    let source = FileSource::open(path).map_err(Error::Read)?;
    let container = Container::read(&source)?;
    container.wraps()?;
    container.digest()
}

fn is_weights(path: &Path) -> bool {
    let Ok(source) = FileSource::open(path) else { return false };
    Scanner::new(Limits::default()).scan(&path.to_string_lossy(), std::sync::Arc::new(source)).is_model
}

/// Whether none of `keys` opens the file at `path`.
fn is_refused(path: &Path, keys: &[Box<dyn KeyWrapper>]) -> bool {
    let opened = FileSource::open(path)
        .map_err(Error::Read)
        .and_then(|source| Container::read(&source)?.unlock(&borrowed(keys)).map(drop));
    matches!(opened, Err(Error::NoKey { .. }))
}

/// A fresh key of every kind that can be made here; each is tried on every blob of its kind, whatever name that has. Key
/// services are not asked: whether they refuse is theirs to show.
fn strangers() -> Option<Vec<Box<dyn KeyWrapper>>> {
    Some(vec![
        Box::new(LocalKey::generate().ok()?),
        Box::new(AgeIdentity::generate().ok()?),
        Box::new(HybridKey::generate().ok()?),
        Box::new(Passphrase::new(Secret::new(b"a passphrase that nobody chose".to_vec())).ok()?),
    ])
}

/// Most small files that are looked at for keys.
const FILES_MAX: usize = 20_000;

/// Key files in the stored tree and in the project that open any of the sealed files; `None` when there are too many files.
fn keys_beside(probe: &ModelProbe<'_>, places: &[PathBuf], sealed: &[PathBuf]) -> Option<usize> {
    // A tool's own state is no place for a key either, so nothing is left out here.
    let roots = places.iter().cloned().chain([probe.project.project.root.clone()]);
    let neighbours = places.iter().filter_map(|place| place.parent().map(Path::to_owned)).filter(|at| at.is_dir());
    let mut files = std::collections::BTreeSet::new();
    for root in roots {
        files.extend(crate::walk::walk_but(".", &root, &mut |_, _, _| false).files.into_iter().map(|(_, path)| path));
    }
    for directory in neighbours {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    let small: Vec<PathBuf> = files
        .into_iter()
        .filter(|path| std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= KEY_FILE_BYTES_MAX))
        .collect();
    if small.len() > FILES_MAX {
        return None;
    }
    let opens = |path: &&PathBuf| {
        let Ok(text) = std::fs::read(path).map(Secret::new) else { return false };
        let keys = parse_keys(text.expose());
        !keys.is_empty() && sealed.iter().any(|sealed| !is_refused(sealed, &keys) && digest(sealed).is_ok())
    };
    Some(small.iter().filter(opens).count())
}

/// Whether the ledger holds a record of sealing that ended in exactly these files, for this model.
fn is_recorded(probe: &ModelProbe<'_>, set: Digest) -> bool {
    let subject = probe.subject();
    let is_own_place = probe.model.declared.as_ref().is_none_or(|declared| declared.stored.is_empty());
    probe.project.records.iter().map(|record| &record.evidence).any(|evidence| {
        evidence.kind == KIND_SEAL
            && evidence.input(CONTENT) == Some(set)
            // Where the sealed files are the model, its digest is theirs and not that of the plaintext.
            && (evidence.subject.digest == subject.digest || (is_own_place && evidence.subject.kind == SubjectKind::Model))
    })
}

/// Whether a container planted here opens with its key and with no other.
fn right_key_opens() -> bool {
    let planted = || {
        let (right, wrong) = (LocalKey::generate().ok()?, LocalKey::generate().ok()?);
        let mut out = std::io::Cursor::new(Vec::new());
        let settings = SealSettings { name: "planted", digest: false, chunk_log2: 12, workers: 1, progress: &|_| true };
        let recipients: [&dyn Recipient; 1] = [&right];
        seal(&MemorySource::new(*b"planted"), &mut out, &recipients, &settings).ok()?;
        let source = MemorySource::new(out.into_inner());
        let mut plain = Vec::new();
        Container::read(&source).ok()?.unlock(&[&right]).ok()?.copy_to(&mut plain, 1, &|_| true).ok()?;
        let refused = Container::read(&source).ok()?.unlock(&[&wrong]).is_err();
        Some(plain == b"planted" && refused)
    };
    planted() == Some(true)
}
