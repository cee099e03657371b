//! The files under a path, and what was not looked at and why: nothing is passed over in silence.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Files under a path.
#[derive(Debug, Default)]
pub struct Walked {
    /// Every file, in order of name: as shown, and where it is.
    pub files: Vec<(String, PathBuf)>,
    /// What was not looked at.
    pub skipped: Vec<Skipped>,
}

/// Something that was not looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Skipped {
    /// Path as shown.
    pub path: String,
    /// Why.
    pub reason: String,
    /// Whether it could hold a model, so that the whole cannot be called clean.
    pub matters: bool,
}

/// Directories at the top that hold history and casemate's own state: the ones a model's manifest leaves out as well.
const TOOL_DIRECTORIES: &[&str] = &[".git", ".casemate"];

/// Deeper than any project; also ends what links cannot.
const DEPTH_MAX: usize = 128;

/// The files at or under `root`, shown under `shown`, without the directories of tools directly in it.
pub fn walk(shown: &str, root: &Path) -> Walked {
    walk_but(shown, root, &mut |name, child, depth| depth == 0 && TOOL_DIRECTORIES.contains(&name) && child.is_dir())
}

/// The files at or under `root`, shown under `shown`, without what `is_tool` says of a name, its path and its depth.
///
/// Links to files are followed, since model caches are made of them; links to directories are followed once per
/// directory, so loops end. Reading is not attempted here.
pub fn walk_but(shown: &str, root: &Path, is_tool: &mut dyn FnMut(&str, &Path, usize) -> bool) -> Walked {
    let mut walked = Walked::default();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![(shown.to_owned(), root.to_owned(), 0)];
    while let Some((shown, path, depth)) = waiting.pop() {
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => {
                walked.skip(shown, error, true);
                continue;
            }
        };
        if !metadata.is_dir() {
            walked.files.push((shown, path));
            continue;
        }
        match fs::canonicalize(&path).map(|real| seen.insert(real)) {
            Ok(true) => {}
            Ok(false) => {
                walked.skip(shown, "a link to a directory that is looked at elsewhere", false);
                continue;
            }
            Err(error) => {
                walked.skip(shown, error, true);
                continue;
            }
        }
        if depth > DEPTH_MAX {
            walked.skip(shown, format!("lies deeper than {DEPTH_MAX} directories"), true);
            continue;
        }
        match children(&path) {
            Ok(names) => waiting.extend(names.into_iter().filter_map(|(name, child)| {
                let below = if shown == "." { name.clone() } else { format!("{}/{name}", shown.trim_end_matches('/')) };
                match is_tool(&name, &child, depth) {
                    true => {
                        walked.skip(below, "history or state of a tool", false);
                        None
                    }
                    false => Some((below, child, depth + 1)),
                }
            })),
            Err(error) => walked.skip(shown, error, true),
        }
    }
    walked.files.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    walked.skipped.sort();
    walked
}

impl Walked {
    fn skip(&mut self, path: String, reason: impl std::fmt::Display, matters: bool) {
        self.skipped.push(Skipped { path, reason: reason.to_string(), matters });
    }
}

fn children(directory: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    Ok(entries.iter().map(|entry| (name(entry), entry.path())).collect())
}
