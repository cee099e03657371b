//! Anchors: heads of the ledger that are kept where its owner cannot change them, each held against the ledger there is.
//!
//! Answers the owner who rewrites the whole ledger under the same key: every head that others keep must be one it passed
//! through. Kept are exported files, git notes ([`git`]), heads that witnesses cosigned, and heads that an authority put a time
//! on (RFC 3161). The last two lie in the state directory, since another's signature and not the place binds them; without that
//! signature they count for nothing.

pub mod git;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use casemate_core::Timestamp;
use casemate_provenance::cosignature::Cosigned;
use casemate_provenance::keys::certificate::Certificate;
use casemate_provenance::ledger::{self, ConsistencyProof, InclusionProof};
use casemate_provenance::note;
use casemate_provenance::timestamp::{self, Request, Response};
use serde::Serialize;

use crate::context::Project;
use crate::exit::Failure;
use crate::small_file;
use crate::state::State;

/// Files looked at in one directory of anchors.
const FILES_MAX: usize = 10_000;

/// Everything that is kept of the ledger elsewhere.
#[derive(Debug, Default, Serialize)]
pub struct Anchors {
    /// One entry a head and place.
    pub found: Vec<Anchor>,
}

/// One head that is kept elsewhere.
#[derive(Debug, Serialize)]
pub struct Anchor {
    /// `file`, `git-note`, `witness` or `timestamp`.
    pub kind: &'static str,
    /// Where it lies.
    pub place: String,
    /// Records it covers; 0 where that could not be told.
    pub size: u64,
    /// When, where a witness or authority says so.
    pub time: Option<Timestamp>,
    /// Who vouches: witnesses, or an authority.
    pub by: Vec<String>,
    /// What came out.
    pub state: AnchorState,
    /// Why, unless it is good.
    pub reason: Option<String>,
}

/// What an anchor says of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnchorState {
    /// The ledger passed through this head.
    Good,
    /// It did not, or the head is not to be believed.
    Bad,
    /// It could not be read.
    Unread,
    /// It fits, but whoever vouches for it was not checked; counts for nothing.
    NotVerified,
}

impl Anchors {
    /// How many are in this state.
    pub fn count(&self, state: AnchorState) -> usize {
        self.found.iter().filter(|anchor| anchor.state == state).count()
    }

    /// How many different heads, by place and kind, bind the ledger.
    pub fn good(&self) -> impl Iterator<Item = &Anchor> {
        self.found.iter().filter(|anchor| anchor.state == AnchorState::Good)
    }

    /// Records that some good anchor covers.
    pub fn records(&self) -> u64 {
        self.good().map(|anchor| anchor.size).max().unwrap_or(0)
    }

    /// Names of the witnesses of good anchors.
    pub fn witnesses(&self) -> BTreeSet<&str> {
        self.good()
            .filter(|anchor| anchor.kind == "witness")
            .flat_map(|anchor| &anchor.by)
            .map(String::as_str)
            .collect()
    }

    /// The first that is bad.
    pub fn first_bad(&self) -> Option<&Anchor> {
        self.found.iter().find(|anchor| anchor.state == AnchorState::Bad)
    }
}

/// Holds every anchor of the project against its ledger, which is verified already.
///
/// # Errors
/// When the configuration names a place or roots that cannot be used.
pub fn check(project: &Project, state: &State, tsa_roots: Option<&Path>, now: Timestamp) -> Result<Anchors, Failure> {
    let configured = project.config.ledger.tsa_roots.as_ref().map(|path| project.root.join(path));
    let roots = tsa_roots.map(Path::to_path_buf).or(configured);
    let roots = roots.map(|path| Certificate::load(&path).map_err(|error| crate::verifying::key_failure(&error)));
    let checker = Checker { state, roots: roots.transpose()?, now };
    let mut anchors = Anchors::default();
    for path in &project.config.ledger.anchors {
        checker.files(&outside(project, path)?, &mut anchors.found);
    }
    if project.config.ledger.git_notes {
        match git::notes(&project.root) {
            Ok(notes) => anchors.found.extend(
                notes.into_iter().map(|(commit, bytes)| checker.kept("git-note", format!("commit {commit}"), &bytes)),
            ),
            Err(why) => anchors.found.push(unread("git-note", git::REF.into(), why)),
        }
    }
    checker.stored(&mut anchors.found);
    Ok(anchors)
}

/// A place named in the configuration; one inside the state directory would bind nobody.
fn outside(project: &Project, path: &str) -> Result<PathBuf, Failure> {
    let full = project.root.join(path);
    // What does not exist yet lies where the nearest directory above it does.
    let real = |path: &Path| {
        let mut above = path.ancestors();
        let found = above.find_map(|above| Some((std::fs::canonicalize(above).ok()?, path.strip_prefix(above).ok()?)));
        found.map_or_else(|| path.to_owned(), |(above, rest)| above.join(rest))
    };
    match real(&full).starts_with(real(&project.state)) {
        true => Err(Failure::usage(format!(
            "`[ledger]` anchors: `{path}` lies in the state directory, where whoever rewrites the ledger rewrites it too; \
             keep it elsewhere"
        ))),
        false => Ok(full),
    }
}

/// The bytes of a signed head in a file: a checkpoint, or the one a proof ends with.
pub fn checkpoint_in(bytes: &[u8]) -> Vec<u8> {
    let of_proof = match bytes {
        bytes if InclusionProof::is_one(bytes) => InclusionProof::parse(bytes).ok().map(|proof| proof.checkpoint),
        bytes if ConsistencyProof::is_one(bytes) => ConsistencyProof::parse(bytes).ok().map(|proof| proof.checkpoint),
        _ => None,
    };
    of_proof.map_or_else(|| bytes.to_vec(), String::into_bytes)
}

/// Name of the files that are kept about a head.
pub fn stem(size: u64, bytes: &[u8]) -> String {
    let digest = casemate_provenance::sha256(bytes).to_string();
    format!("{size:012}-{}", digest.get(..16).unwrap_or_default())
}

fn unread(kind: &'static str, place: String, why: String) -> Anchor {
    let (time, by, state) = (None, Vec::new(), AnchorState::Unread);
    Anchor { kind, place, size: 0, time, by, state, reason: Some(why) }
}

struct Checker<'a> {
    state: &'a State,
    roots: Option<Vec<Vec<u8>>>,
    now: Timestamp,
}

impl Checker<'_> {
    /// A head that lies somewhere else.
    fn kept(&self, kind: &'static str, place: String, bytes: &[u8]) -> Anchor {
        let (size, state, reason) = match self.head(bytes) {
            Ok((size, _)) => (size, AnchorState::Good, None),
            Err((state, why)) => (0, state, Some(why)),
        };
        Anchor { kind, place, size, time: None, by: Vec::new(), state, reason }
    }

    /// Size and cosigners of a head that the ledger passed through; or why it is none.
    fn head(&self, bytes: &[u8]) -> Result<(u64, Vec<Cosigned>), (AnchorState, String)> {
        let ledger = self.state.ledger();
        let bad = |error: note::Error| (AnchorState::Bad, error.to_string());
        let (head, cosigned) = ledger.trust().open_head(bytes).map_err(bad)?;
        match ledger.require_continues(&head) {
            Ok(()) => Ok((head.size, cosigned)),
            Err(error @ ledger::Error::Storage(_)) => Err((AnchorState::Unread, error.to_string())),
            Err(error) => Err((AnchorState::Bad, error.to_string())),
        }
    }

    /// The file at `path`, or every `.checkpoint` in the directory.
    fn files(&self, path: &Path, found: &mut Vec<Anchor>) {
        let shown = |path: &Path| path.display().to_string();
        let paths = match path.is_dir() {
            false => vec![path.to_owned()],
            true => match entries(path, "checkpoint") {
                Ok(paths) if paths.is_empty() => {
                    return found.push(unread("file", shown(path), "no `.checkpoint` is in that directory".into()));
                }
                Ok(paths) => paths,
                Err(why) => return found.push(unread("file", shown(path), why)),
            },
        };
        for path in paths {
            found.push(match small_file::bytes(&path, note::BYTES_MAX as u64) {
                Ok(bytes) => self.kept("file", shown(&path), &bytes),
                Err(why) => unread("file", shown(&path), why),
            });
        }
    }

    /// What the state directory holds: cosigned heads, and heads with a time stamp.
    fn stored(&self, found: &mut Vec<Anchor>) {
        let directory = self.state.anchors_path();
        if directory.exists() {
            match entries(&directory, "checkpoint") {
                Ok(paths) => paths.iter().for_each(|path| self.stored_head(path, found)),
                Err(why) => found.push(unread("witness", directory.display().to_string(), why)),
            }
        }
        let Ok(bytes) = self.state.ledger().checkpoint_bytes() else { return };
        let mut present = Vec::new();
        self.cosigned("checkpoint".into(), &bytes, &mut present);
        // A cosigned head is kept in both places, and is one anchor.
        let is_kept = |one: &Anchor| {
            let same = |other: &&Anchor| other.kind == one.kind && other.size == one.size && other.by == one.by;
            one.state == AnchorState::Good && found.iter().any(|other| same(&other))
        };
        present.retain(|one| !is_kept(one));
        found.append(&mut present);
    }

    fn stored_head(&self, path: &Path, found: &mut Vec<Anchor>) {
        let place = format!("anchors/{}", path.file_name().unwrap_or_default().to_string_lossy());
        let bytes = match small_file::bytes(path, note::BYTES_MAX as u64) {
            Ok(bytes) => bytes,
            Err(why) => return found.push(unread("witness", place, why)),
        };
        let Some(cosigned) = self.cosigned(place.clone(), &bytes, found) else { return };
        let response = path.with_extension("tsr");
        if response.exists() {
            found.push(self.stamped(&path.with_extension("tsq"), &response, &bytes, cosigned));
        }
    }

    /// Adds the head as one that witnesses cosigned, where any did; gives its size, unless it is bad.
    fn cosigned(&self, place: String, bytes: &[u8], found: &mut Vec<Anchor>) -> Option<u64> {
        match self.head(bytes) {
            Ok((size, cosigned)) => {
                if !cosigned.is_empty() {
                    let time = cosigned.iter().map(|one| one.time).max();
                    let by = cosigned.into_iter().map(|one| one.name).collect();
                    found.push(Anchor {
                        kind: "witness",
                        place,
                        size,
                        time,
                        by,
                        state: AnchorState::Good,
                        reason: None,
                    });
                }
                Some(size)
            }
            Err((state, why)) => {
                let (time, by) = (None, Vec::new());
                found.push(Anchor { kind: "witness", place, size: 0, time, by, state, reason: Some(why) });
                None
            }
        }
    }

    fn stamped(&self, request: &Path, response: &Path, message: &[u8], size: u64) -> Anchor {
        let place = format!("anchors/{}", response.file_name().unwrap_or_default().to_string_lossy());
        let read = |path: &Path| small_file::bytes(path, timestamp::BYTES_MAX as u64);
        let (request, response) = match (read(request), read(response)) {
            (Ok(request), Ok(response)) => (request, response),
            (Err(why), _) | (_, Err(why)) => return unread("timestamp", place, why),
        };
        let verified = Request::parse(&request)
            .and_then(|request| Response::parse(&response)?.verify(&request, message, self.roots.as_deref(), self.now));
        let mut anchor =
            Anchor { kind: "timestamp", place, size, time: None, by: vec![], state: AnchorState::Good, reason: None };
        match verified {
            Ok(stamp) => {
                anchor.time = Some(stamp.time);
                anchor.by.extend(stamp.signer);
                if self.roots.is_none() {
                    anchor.state = AnchorState::NotVerified;
                    let why = "signature not verified: give the authority's roots with --tsa-roots, or as `tsa_roots` under \
                               `[ledger]`";
                    anchor.reason = Some(why.into());
                }
            }
            Err(error) => (anchor.state, anchor.reason) = (AnchorState::Bad, Some(error.to_string())),
        }
        anchor
    }
}

/// The regular files in `directory` with this ending, in order.
pub fn entries(directory: &Path, ending: &str) -> Result<Vec<PathBuf>, String> {
    let fail = |error: std::io::Error| format!("`{}`: {error}", directory.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|found| found == ending) {
            paths.push(path);
        }
        if paths.len() > FILES_MAX {
            return Err(format!("`{}` holds more than {FILES_MAX} anchors", directory.display()));
        }
    }
    paths.sort();
    Ok(paths)
}
