//! A signed list against a directory: what is equal, changed, missing, added, and not covered.
//!
//! Every difference is named, not only the first. Files that the list ignores are outside the signature: they are named
//! too, and one that a program would load or run is a difference, since that is where an attacker puts it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use casemate_core::Digest;

use super::payload::{HashType, IGNORED_BY_DEFAULT, Resource, Signed};
use super::{names, shards};
use crate::digests::KnownDigests;
use crate::hash::Hashes;
use crate::manifest::{self, Listing, Manifest, Skipped};

/// How to compare.
pub struct CompareSettings<'a> {
    /// Only these files; all when empty.
    pub partial: &'a [String],
    /// Name of the signature file below the root, when it lies inside the model.
    pub signature_names: &'a [String],
    /// Whether a program may load or run the file at this path.
    pub is_loadable: &'a (dyn Fn(&Path) -> bool + Sync),
    /// Digests of earlier runs; files are read only as far as these do not say or were drawn.
    pub known: Option<&'a KnownDigests>,
    /// Bytes hashed so far.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// How a directory differs from a signed list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Number of files that are as signed.
    pub equal: usize,
    /// Files whose contents are others.
    pub changed: Vec<String>,
    /// Signed files that are not there.
    pub missing: Vec<String>,
    /// Files apart from the model proper, such as `.gitattributes`, that were signed and are not there.
    pub missing_beside: Vec<String>,
    /// Files that are there and were not signed.
    pub added: Vec<String>,
    /// Ignored files that a program may load or run.
    pub uncovered_loadable: Vec<String>,
    /// Other ignored files.
    pub uncovered: Vec<String>,
    /// Files behind symbolic links, where the signer allowed none; they are compared all the same.
    pub links: Vec<String>,
    /// Files nobody looked at, in a partial comparison: signed ones, and ignored ones.
    pub unchecked: Vec<String>,
    /// Files asked for that the list does not name.
    pub unsigned: Vec<String>,
}

impl Comparison {
    /// Whether nothing differs from what was signed.
    pub fn holds(&self) -> bool {
        let differ = [&self.changed, &self.missing, &self.added, &self.uncovered_loadable, &self.unsigned];
        self.equal > 0 && differ.iter().all(|names| names.is_empty())
    }
}

/// Lists `root` for signing: its files sorted by component, the default paths apart, `ignored` left out; files that are `known`
/// are read only as far as they were drawn.
///
/// # Errors
/// When a file cannot be part of a list or read, and when nothing is left to sign.
pub fn list(
    root: &Path,
    hash_type: HashType,
    ignored: &[String],
    known: Option<&KnownDigests>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Signed, ListError> {
    let listing = Listing::of_path(root)?;
    let by_default: Vec<String> = IGNORED_BY_DEFAULT.map(str::to_owned).into();
    for path in ignored {
        if let Some(why) = names::refusal(path).or((path == ".").then_some("is the whole model")) {
            return Err(ListError::Ignored { path: path.clone(), why });
        }
    }
    let hashes = listing.hashes(hash_type.choice(), &|name| !names::is_under(name, ignored), known, progress)?;
    let (mut resources, mut also_covers, mut links) = (Vec::new(), Vec::new(), 0);
    for (file, hashes) in listing.files.iter().zip(&hashes) {
        let Some(digest) = hashes.as_ref().and_then(|hashes| digest(hashes, hash_type)) else { continue };
        links += usize::from(listing.is_link(file));
        let resource = Resource { name: file.0.clone(), digest };
        match names::is_under(&file.0, &by_default) {
            true => also_covers.push(resource),
            false => resources.push(resource),
        }
    }
    if resources.is_empty() {
        return Err(ListError::NothingLeft);
    }
    let mut ignore_paths = by_default;
    ignore_paths.extend(ignored.iter().cloned());
    // What is never part of a model is ignored by name, or other verifiers would call it added.
    ignore_paths.extend(listing.skipped.iter().map(|skipped| skipped.path.clone()));
    ignore_paths.sort();
    ignore_paths.dedup();
    Ok(Signed {
        name: listing.name,
        hash_type,
        allow_symlinks: links > 0,
        ignore_paths,
        resources,
        also_covers,
        covers_defaults: true,
        required_signatures: Vec::new(),
        sharded: None,
        notes: Vec::new(),
    })
}

/// Why a directory cannot be listed for signing.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A file.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// An ignored path that is none below the root.
    #[error("the ignored path `{path}` {why}")]
    Ignored {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Everything is ignored.
    #[error("nothing is left to sign: every file is ignored")]
    NothingLeft,
}

/// Compares the directory or file `root` with a signed list.
///
/// # Errors
/// When a file cannot be read or part of any list, e.g. a device, or a link out of the model.
pub fn compare(signed: &Signed, root: &Path, settings: &CompareSettings<'_>) -> Result<Comparison, manifest::Error> {
    let listing = Listing::of_path(root)?;
    let covered = covered(signed);
    let wanted = |name: &str| covered.contains_key(name) && settings.wants(name);
    let hashes = match &signed.sharded {
        Some(sharded) => shards::hashes(&listing, sharded, &wanted, settings.progress)?,
        None => listing.hashes(signed.hash_type.choice(), &wanted, settings.known, settings.progress)?,
    };
    let seen = listing.files.iter().zip(&hashes).map(|(file, hashes)| Seen {
        name: &file.0,
        real: file.1.clone(),
        digest: hashes.as_ref().and_then(|hashes| digest(hashes, signed.hash_type)),
        is_link: listing.is_link(file),
    });
    Ok(judge(signed, &seen.collect::<Vec<_>>(), &listing.skipped, settings))
}

/// Compares what a manifest says of `root` with a signed list, so that the verdict is about the bytes the manifest names. A
/// manifest knows nothing of shards: every file of a list in shards counts as changed.
pub fn compare_manifest(
    signed: &Signed,
    manifest: &Manifest,
    root: &Path,
    settings: &CompareSettings<'_>,
) -> Comparison {
    let seen = manifest.entries.iter().map(|entry| {
        let real = if entry.path == "." { root.to_owned() } else { root.join(&entry.path) };
        Seen {
            name: &entry.path,
            digest: Some(match signed.hash_type {
                HashType::Sha256 => entry.sha256,
                HashType::Blake3 => entry.blake3,
            }),
            is_link: std::fs::canonicalize(&real).is_ok_and(|target| target != real),
            real,
        }
    });
    judge(signed, &seen.collect::<Vec<_>>(), &manifest.skipped, settings)
}

/// A file that is there.
struct Seen<'a> {
    name: &'a str,
    real: PathBuf,
    /// Where it was hashed.
    digest: Option<Digest>,
    is_link: bool,
}

impl CompareSettings<'_> {
    fn wants(&self, name: &str) -> bool {
        self.partial.is_empty() || self.partial.iter().any(|wanted| wanted == name)
    }
}

/// Every signed file with its digest.
fn covered(signed: &Signed) -> HashMap<&str, Digest> {
    signed.resources.iter().chain(&signed.also_covers).map(|one| (one.name.as_str(), one.digest)).collect()
}

fn judge(signed: &Signed, seen: &[Seen<'_>], skipped: &[Skipped], settings: &CompareSettings<'_>) -> Comparison {
    let covered = covered(signed);
    let by_default: Vec<String> = IGNORED_BY_DEFAULT.map(str::to_owned).into();
    let chosen: Vec<String> = signed.ignore_paths.iter().filter(|path| !by_default.contains(path)).cloned().collect();
    let mut comparison = Comparison::default();
    for Seen { name, real, digest, is_link } in seen {
        let expected = covered.get(name);
        if settings.signature_names.iter().any(|own| own == name) && expected.is_none() {
            continue;
        }
        if *is_link && !signed.allow_symlinks {
            comparison.links.push((*name).to_owned());
        }
        let place = match expected {
            Some(_) if !settings.wants(name) => &mut comparison.unchecked,
            Some(expected) if *digest == Some(*expected) => {
                comparison.equal += 1;
                continue;
            }
            Some(_) => &mut comparison.changed,
            // Where the signer looked behind the default paths as well, a new file there was not signed.
            None if signed.covers_defaults && names::is_under(name, &by_default) && !names::is_under(name, &chosen) => {
                &mut comparison.added
            }
            // Telling whether it can be loaded takes reading it, and it was not asked for.
            None if names::is_under(name, &signed.ignore_paths) && !settings.partial.is_empty() => {
                &mut comparison.unchecked
            }
            None if names::is_under(name, &signed.ignore_paths) => match (settings.is_loadable)(real) {
                true => &mut comparison.uncovered_loadable,
                false => &mut comparison.uncovered,
            },
            None => &mut comparison.added,
        };
        place.push((*name).to_owned());
    }
    let there: HashSet<&str> = seen.iter().map(|seen| seen.name).collect();
    let absent = |list: &[Resource]| -> Vec<String> {
        let names = list.iter().map(|one| one.name.clone());
        names.filter(|name| settings.wants(name) && !there.contains(name.as_str())).collect()
    };
    comparison.missing = absent(&signed.resources);
    comparison.missing_beside = absent(&signed.also_covers);
    comparison.unsigned =
        settings.partial.iter().filter(|name| !covered.contains_key(name.as_str())).cloned().collect();
    // `.git` and the like are named once, not file by file.
    comparison.uncovered.extend(skipped.iter().map(|skipped| skipped.path.clone()));
    comparison
}

fn digest(hashes: &Hashes, hash_type: HashType) -> Option<Digest> {
    match hash_type {
        HashType::Sha256 => hashes.sha256,
        HashType::Blake3 => hashes.blake3,
    }
}
