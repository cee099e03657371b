//! An OCI image layout on disk: `oci:DIRECTORY`.
//!
//! Every blob is scanned under the title its manifest gives it, whether or not a manifest names it, and has to have the
//! digest its name says. Source: OCI Image Specification 1.1, image layout. Titles never become paths; paths are made of
//! digests alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use casemate_core::Digest;
use casemate_provenance::sha256;

use super::oci::{MANIFEST_BYTES_MAX, MANIFESTS_MAX, Walk, digest};
use super::{FILES_MAX, distinct};
use crate::walk::Skipped;

/// The blobs of a layout.
#[derive(Debug, Default)]
pub struct Layout {
    /// Each as shown, where it is, and the digest it must have.
    pub blobs: Vec<(String, PathBuf, Digest)>,
    /// What was not looked at.
    pub skipped: Vec<Skipped>,
}

/// The blobs of the layout in `directory`, called `shown`.
///
/// # Errors
/// When it is no layout; with `true` where a manifest is not what its digest says.
pub fn list(shown: &str, directory: &Path) -> Result<Layout, (String, bool)> {
    let plain = |what: String| (what, false);
    if !directory.join("oci-layout").is_file() {
        return Err(plain(format!("`{}` holds no file `oci-layout`, so it is no image layout", directory.display())));
    }
    let walk = follow(directory)?;
    let titles: BTreeMap<Digest, String> = walk.blobs.iter().map(|blob| (blob.sha256, blob.name())).collect();
    let mut layout = Layout::default();
    let blobs = directory.join("blobs");
    let algorithms = names(&blobs).map_err(|error| plain(format!("`{}`: {error}", blobs.display())))?;
    for algorithm in algorithms {
        let below = blobs.join(&algorithm);
        if algorithm != "sha256" {
            layout.skip(format!("{shown}/blobs/{algorithm}"), "digests of another kind than SHA-256");
            continue;
        }
        for name in names(&below).map_err(|error| plain(format!("`{}`: {error}", below.display())))? {
            let place = below.join(&name);
            match digest(&format!("sha256:{name}")) {
                Some(sha256) if layout.blobs.len() < FILES_MAX => {
                    let title = titles.get(&sha256).cloned().unwrap_or_else(|| format!("sha256:{name}"));
                    layout.blobs.push((format!("{shown}/{title}"), place, sha256));
                }
                Some(_) => {
                    layout.skip(format!("{shown}/blobs"), "more blobs than are looked at");
                    return Ok(layout);
                }
                None => layout.skip(format!("{shown}/blobs/{algorithm}/{name}"), "its name is no digest"),
            }
        }
    }
    let known: std::collections::BTreeSet<Digest> = layout.blobs.iter().map(|(_, _, sha256)| *sha256).collect();
    for blob in walk.blobs.iter().filter(|blob| !known.contains(&blob.sha256)) {
        layout.skip(format!("{shown}/{}", blob.name()), "named by a manifest, but not there");
    }
    let shown: Vec<String> = distinct(layout.blobs.iter().map(|(shown, _, sha256)| (shown.clone(), Some(*sha256))));
    layout.blobs.iter_mut().zip(shown).for_each(|(blob, shown)| blob.0 = shown);
    Ok(layout)
}

impl Layout {
    fn skip(&mut self, path: String, reason: &str) {
        self.skipped.push(Skipped { path, reason: reason.into(), matters: true });
    }
}

/// Reads index and manifests, each checked against its digest.
fn follow(directory: &Path) -> Result<Walk, (String, bool)> {
    let index = directory.join("index.json");
    let at = |path: &Path, what: &dyn std::fmt::Display| (format!("`{}` {what}", path.display()), false);
    let mut walk = Walk::default();
    let bytes = small(&index).map_err(|error| at(&index, &error))?;
    let mut waiting = walk.manifest(&bytes).map_err(|what| at(&index, &what))?;
    let mut followed = 0;
    while let Some(digest) = waiting.pop() {
        let path = directory.join("blobs/sha256").join(digest.to_string());
        let bytes = small(&path).map_err(|error| at(&path, &error))?;
        if sha256(&bytes) != digest {
            return Err((format!("`{}` is a manifest that is not what its digest says", path.display()), true));
        }
        waiting.extend(walk.manifest(&bytes).map_err(|what| at(&path, &what))?);
        followed += 1;
        if followed > MANIFESTS_MAX {
            return Err(at(&index, &format!("leads to more than {MANIFESTS_MAX} manifests")));
        }
    }
    Ok(walk)
}

/// A manifest's bytes, of at most the size one may have.
fn small(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    match metadata.is_file() && metadata.len() <= MANIFEST_BYTES_MAX {
        true => fs::read(path).map_err(|error| format!("cannot be read: {error}")),
        false => Err(format!("is no file of at most {MANIFEST_BYTES_MAX} bytes")),
    }
}

fn names(directory: &Path) -> std::io::Result<Vec<String>> {
    let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
