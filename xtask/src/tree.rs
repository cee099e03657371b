//! The repository on disk: where it is, and which files it has.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// The working tree. Paths in and out are relative to its root, with `/`.
pub struct Tree {
    /// Its root.
    pub root: PathBuf,
}

/// One text file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path below the root.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl File {
    /// A file made of borrowed parts.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// The name without directory and ending.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    }

    /// The number, from 1, of the first line that contains `needle`; 1 when none does.
    pub fn line_of(&self, needle: &str) -> usize {
        self.text.lines().position(|line| line.contains(needle)).map_or(1, |i| i + 1)
    }
}

impl Tree {
    /// The tree this xtask was started from.
    ///
    /// # Errors
    /// When cargo did not start it and the current directory is unknown.
    pub fn here() -> Result<Self> {
        let root = match std::env::var_os("CARGO_MANIFEST_DIR") {
            Some(xtask) => PathBuf::from(xtask).join(".."),
            None => std::env::current_dir()?,
        };
        Ok(Self { root: root.canonicalize()? })
    }

    /// The text of a file.
    ///
    /// # Errors
    /// When it cannot be read or is not UTF-8.
    pub fn read(&self, path: &str) -> Result<String> {
        std::fs::read_to_string(self.root.join(path)).with_context(|| format!("cannot read {path}"))
    }

    /// A file with its text, if it is there.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn file(&self, path: &str) -> Result<Option<File>> {
        match self.root.join(path).is_file() {
            true => Ok(Some(File::new(path, self.read(path)?))),
            false => Ok(None),
        }
    }

    /// Every file below `directory` with the ending `.extension`, in order of path; none when there is no such directory.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn files(&self, directory: &str, extension: &str) -> Result<Vec<File>> {
        let ending = format!(".{extension}");
        let paths = self.paths(directory)?.into_iter().filter(|path| path.ends_with(&ending));
        paths.map(|path| Ok(File::new(path.as_str(), self.read(&path)?))).collect()
    }

    /// The path of every file below `directory`, in order; none when there is no such directory.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn paths(&self, directory: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut waiting = vec![self.root.join(directory)];
        while let Some(directory) = waiting.pop().filter(|directory| directory.is_dir()) {
            for entry in
                std::fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?
            {
                let path = entry?.path();
                match path.is_dir() {
                    true => waiting.push(path),
                    false => found.push(self.relative(&path)),
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// The names of the directories directly in `directory`, in order.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn directories(&self, directory: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let path = self.root.join(directory);
        for entry in std::fs::read_dir(&path).with_context(|| format!("cannot list {directory}"))? {
            let entry = entry?;
            if entry.path().is_dir() {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        found.sort();
        Ok(found)
    }

    /// Every file git knows or would know: tracked, or new and not ignored.
    ///
    /// # Errors
    /// When git is missing or this is no git repository.
    pub fn tracked(&self) -> Result<Vec<String>> {
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&self.root)
            .output()
            .context("cannot run git; install it")?;
        anyhow::ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
        let names = String::from_utf8_lossy(&output.stdout);
        let mut paths: Vec<String> = names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        paths.sort();
        paths.dedup();
        // Deleted and not yet committed: git still lists it.
        paths.retain(|path| self.root.join(path).is_file());
        Ok(paths)
    }

    fn relative(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        below.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
    }
}
