//! A signed list against a directory: what is equal, changed, missing, added, and not covered.
//!
//! Every difference is named, not only the first. Files that the list ignores are outside the signature: they are named
//! too, and one that a program would load or run is a difference, since that is where an attacker puts it.

use std::collections::HashMap;
use std::path::Path;

use casemate_core::Digest;

use super::names;
use super::payload::{HashType, IGNORED_BY_DEFAULT, Resource, Signed};
use crate::hash::Hashes;
use crate::manifest::{self, Listing};

/// How to compare.
pub struct CompareSettings<'a> {
    /// Only these files; all when empty.
    pub partial: &'a [String],
    /// Name of the signature file below the root, when it lies inside the model.
    pub signature_name: Option<&'a str>,
    /// Whether a program may load or run the file at this path.
    pub is_loadable: &'a (dyn Fn(&Path) -> bool + Sync),
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
    /// Signed files nobody looked at, in a partial comparison.
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

/// Lists `root` for signing: its files sorted by component, the default paths apart, `ignored` left out.
///
/// # Errors
/// When a file cannot be part of a list or read, and when nothing is left to sign.
pub fn list(
    root: &Path,
    hash_type: HashType,
    ignored: &[String],
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Signed, ListError> {
    let listing = Listing::of_path(root)?;
    let by_default: Vec<String> = IGNORED_BY_DEFAULT.map(str::to_owned).into();
    for path in ignored {
        if let Some(why) = names::refusal(path).or((path == ".").then_some("is the whole model")) {
            return Err(ListError::Ignored { path: path.clone(), why });
        }
    }
    let hashes = listing.hashes(hash_type.choice(), &|name| !names::is_under(name, ignored), progress)?;
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
    let covered: HashMap<&str, Digest> =
        signed.resources.iter().chain(&signed.also_covers).map(|one| (one.name.as_str(), one.digest)).collect();
    let partial = |name: &str| settings.partial.is_empty() || settings.partial.iter().any(|wanted| wanted == name);
    let wanted = |name: &str| covered.contains_key(name) && partial(name);
    let hashes = listing.hashes(signed.hash_type.choice(), &wanted, settings.progress)?;
    let by_default: Vec<String> = IGNORED_BY_DEFAULT.map(str::to_owned).into();
    let chosen: Vec<String> = signed.ignore_paths.iter().filter(|path| !by_default.contains(path)).cloned().collect();
    let mut comparison = Comparison::default();
    for (file, hashes) in listing.files.iter().zip(&hashes) {
        let (name, real) = file;
        if settings.signature_name == Some(name.as_str()) && !covered.contains_key(name.as_str()) {
            continue;
        }
        match covered.get(name.as_str()) {
            Some(_) if !partial(name) => comparison.unchecked.push(name.clone()),
            Some(expected) => match hashes.as_ref().and_then(|hashes| digest(hashes, signed.hash_type)) {
                Some(found) if found == *expected => comparison.equal += 1,
                _ => comparison.changed.push(name.clone()),
            },
            // Where the signer looked behind the default paths as well, a new file there was not signed.
            None if signed.covers_defaults && names::is_under(name, &by_default) && !names::is_under(name, &chosen) => {
                comparison.added.push(name.clone());
            }
            None if names::is_under(name, &signed.ignore_paths) => match (settings.is_loadable)(real) {
                true => comparison.uncovered_loadable.push(name.clone()),
                false => comparison.uncovered.push(name.clone()),
            },
            None => comparison.added.push(name.clone()),
        }
        if !signed.allow_symlinks && listing.is_link(file) {
            comparison.links.push(name.clone());
        }
    }
    let there: std::collections::HashSet<&str> = listing.files.iter().map(|(name, _)| name.as_str()).collect();
    let absent = |list: &[Resource]| -> Vec<String> {
        let names = list.iter().map(|one| one.name.clone());
        names.filter(|name| partial(name) && !there.contains(name.as_str())).collect()
    };
    comparison.missing = absent(&signed.resources);
    comparison.missing_beside = absent(&signed.also_covers);
    comparison.unsigned =
        settings.partial.iter().filter(|name| !covered.contains_key(name.as_str())).cloned().collect();
    // `.git` and the like are named once, not file by file.
    comparison.uncovered.extend(listing.skipped.iter().map(|skipped| skipped.path.clone()));
    Ok(comparison)
}

fn digest(hashes: &Hashes, hash_type: HashType) -> Option<Digest> {
    match hash_type {
        HashType::Sha256 => hashes.sha256,
        HashType::Blake3 => hashes.blake3,
    }
}
