//! Finds the files of a model directory, and refuses what has no honest place in a manifest.
//!
//! Links out of the root, names with two readings, devices: each lets what is signed and what is loaded differ.
//! Hashing is left to the parent module.

use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

use super::{DEPTH_MAX, ENTRIES_MAX, Error, Skipped};

/// Names directly under the root that belong to tools, not to the model.
const EXCLUDED: [(&str, &str); 2] =
    [(".git", "version control is not part of the model"), (".casemate", "casemate's own state")];

/// What a walk found.
pub(super) struct Walked {
    /// POSIX name below the root, and the real path to open; sorted by components.
    pub(super) files: Vec<(String, PathBuf)>,
    pub(super) skipped: Vec<Skipped>,
}

/// The files under `root`, which is canonical.
pub(super) fn walk(root: &Path) -> Result<Walked, Error> {
    let metadata = std::fs::metadata(root).map_err(|source| Error::Unreadable { path: root.into(), source })?;
    if !metadata.is_dir() {
        return match metadata.is_file() {
            true => Ok(Walked { files: vec![(".".into(), root.into())], skipped: Vec::new() }),
            false => Err(Error::SpecialFile { path: root.into() }),
        };
    }
    let mut walker = Walker { root, files: Vec::new(), skipped: Vec::new() };
    walker.directory(root, "", &[])?;
    if walker.files.is_empty() {
        return Err(Error::Empty { path: root.into() });
    }
    walker.files.sort_by(|(a, _), (b, _)| a.split('/').cmp(b.split('/')));
    walker.skipped.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Walked { files: walker.files, skipped: walker.skipped })
}

struct Walker<'a> {
    root: &'a Path,
    files: Vec<(String, PathBuf)>,
    skipped: Vec<Skipped>,
}

impl Walker<'_> {
    /// `real` is canonical, `prefix` its name with a final `/`, `above` the canonical directories it was reached through.
    fn directory(&mut self, real: &Path, prefix: &str, above: &[PathBuf]) -> Result<(), Error> {
        if above.len() >= DEPTH_MAX {
            return Err(Error::TooDeep { path: real.into(), max: DEPTH_MAX });
        }
        let unreadable = |source| Error::Unreadable { path: real.into(), source };
        let mut above = above.to_vec();
        above.push(real.into());
        for child in std::fs::read_dir(real).map_err(unreadable)? {
            let child = child.map_err(unreadable)?;
            let path = child.path();
            let file_name = child.file_name();
            let Some(name) = file_name.to_str() else { return Err(Error::NameNotUtf8 { path }) };
            if name.contains('\\') {
                return Err(Error::NameWithBackslash { path });
            }
            if let Some((_, reason)) = EXCLUDED.iter().find(|(excluded, _)| prefix.is_empty() && name == *excluded) {
                self.skipped.push(Skipped { path: name.into(), reason: (*reason).into() });
                continue;
            }
            let kind = child.file_type().map_err(|source| Error::Unreadable { path: path.clone(), source })?;
            self.child(&path, kind, &format!("{prefix}{name}"), &above)?;
        }
        Ok(())
    }

    fn child(&mut self, path: &Path, kind: FileType, name: &str, above: &[PathBuf]) -> Result<(), Error> {
        let (real, kind) = match kind.is_symlink() {
            true => self.follow(path, above)?,
            false => (path.to_path_buf(), kind),
        };
        if kind.is_dir() {
            return self.directory(&real, &format!("{name}/"), above);
        }
        if !kind.is_file() {
            return Err(Error::SpecialFile { path: path.into() });
        }
        if self.files.len() >= ENTRIES_MAX {
            return Err(Error::TooManyFiles { path: self.root.into(), max: ENTRIES_MAX });
        }
        self.files.push((name.into(), real));
        Ok(())
    }

    fn follow(&self, link: &Path, above: &[PathBuf]) -> Result<(PathBuf, FileType), Error> {
        let target = std::fs::canonicalize(link).map_err(|source| match source.kind() {
            // Rust has no stable name for ELOOP, which Linux numbers 40 and the BSDs 62.
            _ if matches!(source.raw_os_error(), Some(40 | 62)) => Error::LinkLoops { path: link.into() },
            io::ErrorKind::NotFound => dangling(link, source),
            _ => Error::Unreadable { path: link.into(), source },
        })?;
        if !target.starts_with(self.root) {
            return Err(Error::LinkLeavesRoot { path: link.into(), target });
        }
        if above.contains(&target) {
            return Err(Error::LinkLoops { path: link.into() });
        }
        let metadata = std::fs::metadata(&target).map_err(|source| Error::Unreadable { path: link.into(), source })?;
        Ok((target, metadata.file_type()))
    }
}

fn dangling(link: &Path, source: io::Error) -> Error {
    let target = std::fs::read_link(link).map_or_else(|_| "?".into(), |target| target.display().to_string());
    let source = io::Error::new(source.kind(), format!("the link's target `{target}` does not exist"));
    Error::Unreadable { path: link.into(), source }
}
