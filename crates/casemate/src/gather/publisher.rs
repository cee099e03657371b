//! Evidence about models of others: the files of each `[[base]]` against what its publisher states of them.
//!
//! The threats are an account taken over, a tag moved, a download altered on its way: another model under the same name. A
//! statement counts where casemate.toml holds it or the key to it. What a hub's client writes beside the files as it downloads
//! (`.cache/huggingface`) is no statement, since whoever replaces a file there replaces that too; only against a base is it
//! heard, where it names another commit than the one that is pinned.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use casemate_core::{Digest, Evidence, Fact, FileSource, Input, MemorySource, Outcome, Source as _, SourceExt as _};
use casemate_provenance::keys::signing::{KeyType, SigningKey};
use casemate_provenance::manifest::Entry;
use casemate_provenance::oms::compare::{CompareSettings, compare_manifest};
use casemate_provenance::oms::payload::Signed;
use casemate_provenance::{HashChoice, Manifest, checksums, hash};

use super::{ModelProbe, count, record};
use crate::config::base::{self, BaseConfig};
use crate::context::Project;
use crate::exit::Failure;
use crate::small_file;
use crate::verifying::{SignatureFiles, is_loadable};
use crate::watching::Believed;

/// Where hub clients keep their books inside of a download.
const BOOKS: &str = ".cache/huggingface/";

/// Most bytes of one of their files.
const BOOK_BYTES_MAX: u64 = 4 << 10;

/// Largest file that is read again to be altered in memory.
const ALTERED_BYTES_MAX: u64 = 16 << 20;

/// Largest list of checksums.
const CHECKSUMS_BYTES_MAX: u64 = 64 << 20;

/// What a publisher states, all of it pinned in the project.
struct Stated {
    whole: Option<Digest>,
    files: BTreeMap<String, Digest>,
    signature: Option<Signature>,
}

struct Signature {
    files: SignatureFiles,
    believed: Believed,
    /// Its names among the files, as far as it lies there.
    names: Vec<String>,
}

/// The files of a base, held against what is stated.
#[derive(Default)]
struct Held {
    files: usize,
    verified: BTreeSet<String>,
    /// Files that are not what is stated of them.
    contradicted: Vec<String>,
    digest_matches: Option<bool>,
    signature_valid: Option<bool>,
}

/// One base, judged.
struct Judged {
    manifest: Manifest,
    held: Held,
    revision_pinned: Result<(), String>,
    /// Defects planted, and those that were caught.
    self_test: (usize, usize),
}

/// The record of the bases a model builds on; where none is declared, a record that says what to do.
///
/// # Errors
/// None.
pub fn publisher(probe: &ModelProbe<'_>) -> Result<Evidence, Failure> {
    let project = probe.project.project;
    let mut evidence = record("provenance.publisher", "publisher", probe.subject(), probe.project.span());
    let bases: Vec<&BaseConfig> = project.config.bases.iter().filter(|base| base.is_of(&probe.model.name)).collect();
    if bases.is_empty() {
        evidence.reason = Some(format!(
            "no `[[base]]` of casemate.toml says what `{}` builds on: name source, revision and the publisher's digests or key",
            probe.model.name
        ));
        return Ok(evidence);
    }
    let mut judged = Vec::new();
    for base in bases {
        match judge(probe, base) {
            Ok(one) => judged.push((base, one)),
            Err(reason) => {
                evidence.reason = Some(format!("base `{}`: {reason}", base.name));
                return Ok(evidence);
            }
        }
    }
    evidence.inputs =
        judged.iter().map(|(_, one)| Input { name: "base".into(), digest: one.manifest.digest() }).collect();
    let unverified: usize = judged.iter().map(|(_, one)| one.held.unverified()).sum();
    let sum = |of: &dyn Fn(&Judged) -> usize| judged.iter().map(|(_, one)| of(one)).sum::<usize>();
    let (planted, caught) = (sum(&|one| one.self_test.0), sum(&|one| one.self_test.1));
    let unpinned = judged.iter().find_map(|(base, one)| one.revision_pinned.as_ref().err().map(|why| (base, why)));
    // Every base has to be shown by one or the other; what is not shows in the files that are left.
    let every = |of: &dyn Fn(&Held) -> Option<bool>| {
        let said: Vec<bool> = judged.iter().filter_map(|(_, one)| of(&one.held)).collect();
        !said.is_empty() && said.iter().all(|holds| *holds)
    };
    let facts = [
        ("bases", count(judged.len())),
        ("revision_pinned", Fact::Bool(unpinned.is_none())),
        ("digest_matches", Fact::Bool(every(&|held| held.digest_matches))),
        ("signature_valid", Fact::Bool(every(&|held| held.signature_valid))),
        ("files", count(sum(&|one| one.held.files))),
        ("files_verified", count(sum(&|one| one.held.verified.len()))),
        ("files_unverified", count(unverified)),
        ("self_test_planted", count(planted)),
        ("self_test_caught", count(caught)),
    ];
    evidence.facts = facts.map(|(name, fact)| (name.to_owned(), fact)).into();
    (evidence.outcome, evidence.reason) = match () {
        () if planted != caught => (Outcome::Unknown, Some("a defect planted in a base was not noticed".into())),
        () if unverified > 0 => (Outcome::Fail, judged.iter().find_map(|(base, one)| one.held.words(base))),
        () => match unpinned {
            Some((base, why)) => (Outcome::Fail, Some(format!("base `{}`: {why}", base.name))),
            None => (Outcome::Pass, None),
        },
    };
    Ok(evidence)
}

/// One base held against its statement. What could not be read is said in the error.
fn judge(probe: &ModelProbe<'_>, base: &BaseConfig) -> Result<Judged, String> {
    let project = probe.project.project;
    let root = project.root.join(&base.path);
    let is_model = probe.model.path == root;
    let whole = match is_model {
        true => probe.manifest.clone(),
        false => Manifest::of_path(&root, &|_| ()).map_err(|error| error.to_string())?,
    };
    let stated = Stated::read(project, base, &root)?;
    let mut manifest = whole;
    let commit = downloaded_at(&root, &manifest);
    manifest.entries.retain(|entry| !is_book(&root, entry));
    let held = stated.hold(&manifest, &root);
    let revision_pinned = revision(base, &stated).and_then(|revision| match commit {
        Some(commit) if commit != revision && !revision.starts_with("sha256:") => {
            Err(format!("the client that downloaded it wrote down commit {commit}, and {revision} is pinned"))
        }
        _ => Ok(()),
    });
    let self_test = stated.self_test(&manifest, &root, &held)?;
    Ok(Judged { manifest, held, revision_pinned, self_test })
}

impl Stated {
    fn read(project: &Project, base: &BaseConfig, root: &Path) -> Result<Self, String> {
        let at = |path: &String| project.root.join(path);
        let mut files = match &base.checksums {
            Some(path) => {
                let text = small_file::read_up_to(&at(path), CHECKSUMS_BYTES_MAX)?;
                checksums::parse(&text).map_err(|error| format!("`{path}`, {error}"))?
            }
            None => BTreeMap::new(),
        };
        for (name, text) in &base.files {
            let digest = base::digest(text).ok_or_else(|| format!("`{text}` is no digest"))?;
            if files.insert(name.clone(), digest).is_some_and(|other| other != digest) {
                return Err(format!("`files` and `checksums` state different digests of `{name}`"));
            }
        }
        let signature = base.signature.as_ref().map(|path| {
            let believed = match (&base.key, &base.roots, &base.identity) {
                (Some(key), _, _) => Believed::keys(&[at(key)]),
                (None, Some(roots), Some(identity)) => Believed::certified(&at(roots), identity),
                _ => Err(Failure::usage("the signature needs a key")),
            };
            let canonical = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
            let files = SignatureFiles::read(&at(path), None)?;
            let names = files.names(&canonical, &at(path));
            Ok::<_, Failure>(Signature { files, believed: believed?, names })
        });
        let signature = signature.transpose().map_err(|failure| failure.message)?;
        Ok(Self { whole: base.digest.as_deref().and_then(base::digest), files, signature })
    }

    fn hold(&self, manifest: &Manifest, root: &Path) -> Held {
        let own_names = self.signature.as_ref().map(|signature| signature.names.as_slice()).unwrap_or_default();
        let entries = || manifest.entries.iter().filter(|entry| !own_names.contains(&entry.path));
        let mut held = Held { files: entries().count(), ..Held::default() };
        if let Some(digest) = self.whole {
            let matches = without(manifest, own_names).digest() == digest;
            held.digest_matches = Some(matches);
            let names = entries().map(|entry| entry.path.clone());
            if matches { held.verified.extend(names) } else { held.contradicted.extend(names) }
        }
        for entry in entries() {
            match self.files.get(&entry.path) {
                Some(digest) if *digest == entry.sha256 => drop(held.verified.insert(entry.path.clone())),
                Some(_) => held.contradicted.push(entry.path.clone()),
                None => {}
            }
        }
        if !self.files.is_empty() {
            let matches = entries().any(|entry| self.files.contains_key(&entry.path)) && held.contradicted.is_empty();
            held.digest_matches = Some(held.digest_matches.unwrap_or(true) && matches);
        }
        if let Some(signature) = &self.signature {
            let covered = signature.covers(manifest, root);
            held.signature_valid = Some(covered.is_some());
            match covered {
                Some(names) => held.verified.extend(names),
                None => held.contradicted.extend(entries().map(|entry| entry.path.clone())),
            }
        }
        // A signature may name files that are not there.
        let there: BTreeSet<&str> = entries().map(|entry| entry.path.as_str()).collect();
        held.verified.retain(|name| there.contains(name.as_str()));
        held.contradicted.sort();
        held.contradicted.dedup();
        for name in &held.contradicted {
            held.verified.remove(name);
        }
        held
    }

    /// Plants a flipped byte and a wrong statement; gives how many were planted and how many were noticed.
    fn self_test(&self, manifest: &Manifest, root: &Path, held: &Held) -> Result<(usize, usize), String> {
        let is_fit =
            |entry: &&Entry| held.verified.contains(&entry.path) && (1..=ALTERED_BYTES_MAX).contains(&entry.size_bytes);
        let mut planted = vec![self.with_wrong_statement()?.hold(manifest, root).verified.is_empty()];
        // Where nothing verifies there is nothing a defect could take away.
        if let Some(entry) = manifest.entries.iter().filter(is_fit).min_by_key(|entry| entry.size_bytes) {
            let altered = altered(entry, root).map_err(|error| format!("`{}`: {error}", entry.path))?;
            let mut copy = manifest.clone();
            for other in copy.entries.iter_mut().filter(|other| other.path == altered.path) {
                *other = altered.clone();
            }
            planted.push(!self.hold(&copy, root).verified.contains(&altered.path));
        }
        Ok((planted.len(), planted.iter().filter(|caught| **caught).count()))
    }

    /// The same with every digest off by a bit, and the publisher's key exchanged for one made up for the purpose.
    fn with_wrong_statement(&self) -> Result<Self, String> {
        let flip = |digest: &Digest| {
            let mut bytes = digest.0;
            bytes.iter_mut().take(1).for_each(|byte| *byte ^= 1);
            Digest(bytes)
        };
        let key = SigningKey::generate(KeyType::EcdsaP256).map_err(|error| error.to_string())?;
        let signature = self.signature.as_ref().map(|signature| Signature {
            files: signature.files.clone(),
            believed: Believed::key(key.public().clone()),
            names: signature.names.clone(),
        });
        let files = self.files.iter().map(|(name, digest)| (name.clone(), flip(digest))).collect();
        Ok(Self { whole: self.whole.as_ref().map(flip), files, signature })
    }
}

impl Signature {
    /// The files it covers, all of them as signed; nothing when it does not hold.
    fn covers(&self, manifest: &Manifest, root: &Path) -> Option<BTreeSet<String>> {
        let signed: Signed = self.believed.open(&self.files).ok()?.signed;
        let root = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
        let settings = CompareSettings {
            partial: &[],
            signature_names: &self.names,
            is_loadable: &is_loadable,
            known: None,
            progress: &|_| (),
        };
        let compared = compare_manifest(&signed, manifest, &root, &settings);
        let listed = signed.resources.iter().chain(&signed.also_covers).map(|one| one.name.clone());
        compared.holds().then(|| listed.collect())
    }
}

impl Held {
    fn unverified(&self) -> usize {
        self.files.saturating_sub(self.verified.len())
    }

    fn words(&self, base: &BaseConfig) -> Option<String> {
        let n = self.unverified();
        if n == 0 {
            return None;
        }
        Some(match self.contradicted.first() {
            Some(first) => format!(
                "base `{}`: {} files are not what the publisher states, `{first}` among them",
                base.name,
                self.contradicted.len()
            ),
            None => format!("base `{}`: its publisher states nothing of {n} of its files", base.name),
        })
    }
}

/// What pins the revision: a commit, or a digest that is itself stated of the files.
fn revision(base: &BaseConfig, stated: &Stated) -> Result<String, String> {
    let in_source = base.source.strip_prefix("hf://").and_then(|rest| {
        let (_, revision) = rest.split_once('@')?;
        revision.split('/').next()
    });
    let revision = match (base.revision.as_deref(), in_source) {
        (Some(one), Some(other)) if one != other => {
            return Err(format!("`source` says revision `{other}`, and `revision` says `{one}`"));
        }
        (Some(revision), _) | (None, Some(revision)) => revision,
        (None, None) => return Err("no revision is pinned; add `revision`, the commit it was fetched at".into()),
    };
    let is_commit = matches!(revision.len(), 40 | 64)
        && revision.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let is_digest = base::digest(revision)
        .is_some_and(|digest| stated.whole == Some(digest) || stated.files.values().any(|stated| *stated == digest));
    match is_commit || is_digest {
        true => Ok(revision.to_owned()),
        false => Err(format!(
            "revision `{revision}` pins nothing: branches and tags move; use the commit, or `sha256:` and a digest that is stated"
        )),
    }
}

fn without(manifest: &Manifest, names: &[String]) -> Manifest {
    let mut manifest = manifest.clone();
    manifest.entries.retain(|entry| !names.contains(&entry.path));
    manifest
}

/// The entry with a byte of its file flipped, hashed anew.
fn altered(entry: &Entry, root: &Path) -> std::io::Result<Entry> {
    let source = FileSource::open(&place(root, entry))?;
    let size = source.size_bytes();
    if size > ALTERED_BYTES_MAX {
        return Err(std::io::Error::other("grew while it was looked at"));
    }
    let mut bytes = source.bytes_at(0, size)?;
    let middle = bytes.len() / 2;
    bytes.get_mut(middle).into_iter().for_each(|byte| *byte ^= 1);
    let hashes = hash::hash(&MemorySource::new(bytes), HashChoice::Sha256AndBlake3, &|_| ())?;
    let none = || std::io::Error::other("no digest came back");
    let (sha256, blake3) = (hashes.sha256.ok_or_else(none)?, hashes.blake3.ok_or_else(none)?);
    Ok(Entry { path: entry.path.clone(), size_bytes: hashes.size_bytes, sha256, blake3 })
}

fn place(root: &Path, entry: &Entry) -> PathBuf {
    if entry.path == "." { root.to_owned() } else { root.join(&entry.path) }
}

/// Whether a file is a hub client's bookkeeping: under its name, small, and nothing that a program would load.
fn is_book(root: &Path, entry: &Entry) -> bool {
    let Some(rest) = entry.path.strip_prefix(BOOKS) else { return false };
    let is_named = matches!(rest, ".gitignore" | "CACHEDIR.TAG")
        || rest.strip_prefix("download/").is_some_and(|name| name.ends_with(".metadata") || name.ends_with(".lock"));
    is_named && entry.size_bytes <= BOOK_BYTES_MAX && !is_loadable(&place(root, entry))
}

/// The commit a hub client wrote down as it downloaded: the first line of each of its notes. Where they disagree, all of them.
fn downloaded_at(root: &Path, manifest: &Manifest) -> Option<String> {
    let notes = manifest.entries.iter().filter(|entry| entry.path.ends_with(".metadata") && is_book(root, entry));
    let commits: BTreeSet<String> = notes
        .filter_map(|entry| small_file::read(&place(root, entry)).ok())
        .filter_map(|text| text.lines().next().map(|line| line.trim().chars().take(64).collect()))
        .collect();
    (!commits.is_empty()).then(|| commits.into_iter().collect::<Vec<_>>().join(" and "))
}
