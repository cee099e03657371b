//! Whether a repository has a commit, and which one is checked out, without running git.
//!
//! Source: gitrepository-layout(5), gitformat-pack(5) (index version 2). Only presence is looked at: that an object is what its
//! name says is for git to check.

use std::fs;
use std::path::{Path, PathBuf};

use casemate_core::{FileSource, SourceExt as _};

use crate::small_file;

/// Directories above a project in which its repository may lie.
const LEVELS_MAX: usize = 32;
/// Pack indexes looked at.
const PACKS_MAX: usize = 10_000;
/// Magic and version of a pack index.
const INDEX_V2: [u8; 8] = [0xff, b't', b'O', b'c', 0, 0, 0, 2];
const FANOUT_BYTES: u64 = 256 * 4;

/// A repository: its own directory, and the one it shares with other working trees.
pub struct Repository {
    directory: PathBuf,
    common: PathBuf,
}

impl Repository {
    /// The repository that `project` lies in.
    pub fn around(project: &Path) -> Option<Self> {
        let real = fs::canonicalize(project).ok()?;
        real.ancestors().take(LEVELS_MAX).find_map(|above| Self::at(&above.join(".git")))
    }

    fn at(dot_git: &Path) -> Option<Self> {
        let directory = match dot_git.is_dir() {
            true => dot_git.to_owned(),
            // A further working tree has a file that names the directory.
            false => {
                let text = small_file::read_if_there(dot_git).ok()??;
                dot_git.parent()?.join(text.strip_prefix("gitdir: ")?.trim_end())
            }
        };
        let common = match small_file::read_if_there(&directory.join("commondir")).ok()? {
            Some(text) => directory.join(text.trim_end()),
            None => directory.clone(),
        };
        common.join("objects").is_dir().then_some(Self { directory, common })
    }

    /// The commit that is checked out.
    pub fn head(&self) -> Option<String> {
        let text = small_file::read_if_there(&self.directory.join("HEAD")).ok()??;
        let Some(name) = text.trim_end().strip_prefix("ref: ") else { return commit(text.trim_end()) };
        if name.split('/').any(|part| part == "..") || name.starts_with('/') {
            return None;
        }
        if let Some(text) = small_file::read_if_there(&self.common.join(name)).ok()? {
            return commit(text.trim_end());
        }
        let packed = small_file::read_if_there(&self.common.join("packed-refs")).ok()??;
        packed
            .lines()
            .find_map(|line| line.split_once(' ').filter(|(_, of)| *of == name).and_then(|(id, _)| commit(id)))
    }

    /// Whether an object of this name is there, loose or packed.
    pub fn has(&self, id: &str) -> bool {
        let Some((first, rest)) = commit(id).as_deref().and_then(|_| id.split_at_checked(2)) else { return false };
        let objects = self.common.join("objects");
        if objects.join(first).join(rest).is_file() {
            return true;
        }
        let Some(wanted) = bytes(id) else { return false };
        let Ok(entries) = fs::read_dir(objects.join("pack")) else { return false };
        let is_index = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "idx");
        let mut indexes = entries.take(PACKS_MAX).filter_map(Result::ok).map(|entry| entry.path()).filter(is_index);
        indexes.any(|index| index_has(&index, &wanted).unwrap_or(false))
    }
}

/// `text`, if it is the full name of an object.
pub fn commit(text: &str) -> Option<String> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex && [40, 64].contains(&text.len())).then(|| text.to_owned())
}

fn bytes(id: &str) -> Option<Vec<u8>> {
    (0..id.len() / 2).map(|at| u8::from_str_radix(id.get(2 * at..2 * at + 2)?, 16).ok()).collect()
}

/// Whether a pack index lists the object; its names are sorted, so a few of them are read.
fn index_has(index: &Path, wanted: &[u8]) -> Option<bool> {
    let source = FileSource::open(index).ok()?;
    let number = |offset: u64| -> Option<u64> {
        let bytes = source.bytes_at(offset, 4).ok()?;
        Some(u64::from(u32::from_be_bytes(bytes.try_into().ok()?)))
    };
    if source.bytes_at(0, 8).ok()? != INDEX_V2 {
        return None;
    }
    let first = u64::from(*wanted.first()?);
    let mut low = if first == 0 { 0 } else { number(8 + (first - 1) * 4)? };
    let mut high = number(8 + first * 4)?;
    let width = wanted.len() as u64;
    while low < high {
        let middle = low + (high - low) / 2;
        let name = source.bytes_at(8 + FANOUT_BYTES + middle * width, width).ok()?;
        match name.as_slice().cmp(wanted) {
            std::cmp::Ordering::Equal => return Some(true),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOSE: &str = "1111111111111111111111111111111111111111";
    const PACKED: &str = "2222222222222222222222222222222222222222";

    fn write(path: PathBuf, bytes: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn repository() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let git = directory.path().join(".git");
        write(git.join("objects").join(&LOOSE[..2]).join(&LOOSE[2..]), b"");
        // Three names: 0x11 twice, 0x22 once.
        let names = [[0x11, 0x00], [0x11, 0x05], [0x22, 0x22]].map(|[a, b]| [[a].as_slice(), &[b; 19]].concat());
        let fanout = (0..256u32).flat_map(|first| {
            let count = if first < 0x11 {
                0u32
            } else if first < 0x22 {
                2
            } else {
                3
            };
            count.to_be_bytes()
        });
        let index: Vec<u8> = INDEX_V2.into_iter().chain(fanout).chain(names.concat()).collect();
        write(git.join("objects/pack/pack-1.idx"), &index);
        write(git.join("HEAD"), b"ref: refs/heads/main\n");
        write(git.join("refs/heads/main"), format!("{LOOSE}\n").as_bytes());
        directory
    }

    #[test]
    fn loose_and_packed_objects_are_found_and_others_are_not() {
        let directory = repository();
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        let repository = Repository::around(&directory.path().join("a/b")).unwrap();
        assert!(repository.has(LOOSE) && repository.has(PACKED));
        for other in
            ["1105050505050505050505050505050505050506", "00", "", "../../HEAD", &"3".repeat(40), &"2".repeat(64)]
        {
            assert!(!repository.has(other), "{other}");
        }
        assert_eq!(repository.head().as_deref(), Some(LOOSE));
    }

    #[test]
    fn heads_in_packed_references_and_of_further_working_trees_are_read() {
        let directory = repository();
        let git = directory.path().join(".git");
        fs::remove_file(git.join("refs/heads/main")).unwrap();
        write(git.join("packed-refs"), format!("# pack-refs\n{PACKED} refs/heads/main\n").as_bytes());
        assert_eq!(Repository::around(directory.path()).unwrap().head().as_deref(), Some(PACKED));
        write(git.join("worktrees/other/HEAD"), LOOSE.as_bytes());
        write(git.join("worktrees/other/commondir"), b"../..\n");
        let other = tempfile::tempdir().unwrap();
        let pointer = format!("gitdir: {}\n", git.join("worktrees/other").display());
        write(other.path().join(".git"), pointer.as_bytes());
        let repository = Repository::around(other.path()).unwrap();
        assert!(repository.head().as_deref() == Some(LOOSE) && repository.has(PACKED));
        write(git.join("HEAD"), b"ref: ../../secret\n");
        assert_eq!(Repository::around(directory.path()).unwrap().head(), None);
    }

    #[test]
    fn a_broken_index_has_nothing() {
        let directory = repository();
        let index = directory.path().join(".git/objects/pack/pack-1.idx");
        for cut in [0, 7, 12, 1032, 1050] {
            let whole = fs::read(&index).unwrap();
            fs::write(&index, &whole[..cut]).unwrap();
            assert!(!Repository::around(directory.path()).unwrap().has(PACKED), "{cut}");
            fs::write(&index, whole).unwrap();
        }
    }
}
