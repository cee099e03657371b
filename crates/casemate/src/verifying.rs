//! What signing and verifying share: keys and signature files, and which files a program may load.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use casemate_artifact::{Scanner, Verdict};
use casemate_core::{FileSource, Limits, Source as _, SourceExt as _};
use casemate_provenance::keys::Error as KeyError;
use casemate_provenance::oms::{self, BUNDLE_BYTES_MAX, Opened, Trusted, detached};

use crate::exit::Failure;

/// Endings of files that a program runs or loads without looking at their first bytes.
const ENDINGS_LOADED: [&str; 10] = ["py", "pyc", "pth", "so", "dll", "dylib", "sh", "bat", "ps1", "js"];

/// A key that cannot be used is the caller's to mend; one that cannot be read is the world's.
pub fn key_failure(error: &KeyError) -> Failure {
    match error {
        KeyError::Io { .. } => Failure::not_evaluated(error),
        error => Failure::usage(error),
    }
}

/// The name of the signature file inside the model, if it lies there.
pub fn signature_name(root: &Path, signature: &Path) -> Option<String> {
    let parent = signature.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let real = std::fs::canonicalize(parent).ok()?.join(signature.file_name()?);
    let below = real.strip_prefix(root).ok()?.to_str()?;
    (!below.is_empty()).then(|| below.replace(std::path::MAIN_SEPARATOR, "/"))
}

/// The bytes of a signature file.
///
/// # Errors
/// When it cannot be read, or is larger than a signature can be.
pub fn read_signature(path: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |error: std::io::Error| Failure::not_evaluated(format!("`{}`: {error}", path.display()));
    let source = FileSource::open(path).map_err(fail)?;
    if source.size_bytes() > BUNDLE_BYTES_MAX as u64 {
        return Err(Failure::integrity(format!("`{}` is larger than a signature can be", path.display())));
    }
    source.bytes_at(0, source.size_bytes()).map_err(fail)
}

/// A signature: its file, and the file of its post-quantum part where that lies apart.
#[derive(Clone, Debug)]
pub struct SignatureFiles {
    /// The bundle.
    pub bundle: Vec<u8>,
    /// The other file: where it lies, and what it holds.
    pub pq: Option<(PathBuf, Vec<u8>)>,
}

impl SignatureFiles {
    /// Reads the signature at `path`, and the post-quantum one: from `pq`, or from beside where the bundle says that there is one.
    ///
    /// # Errors
    /// When a file cannot be read, or is larger than a signature can be. One that is not beside is for [`Self::open`] to refuse.
    pub fn read(path: &Path, pq: Option<&Path>) -> Result<Self, Failure> {
        let bundle = read_signature(path)?;
        let beside = pq_beside(path);
        let place = match pq {
            Some(pq) => Some(pq.to_owned()),
            None => (beside.exists() && detached::is_wanted(&bundle)).then_some(beside),
        };
        let pq = place.map(|place| read_signature(&place).map(|bytes| (place, bytes))).transpose()?;
        Ok(Self { bundle, pq })
    }

    /// The names inside the model of the file at `signature` and of the one beside, as far as they lie there: they are no part of
    /// what is signed.
    pub fn names(&self, root: &Path, signature: &Path) -> Vec<String> {
        let beside = self.pq.as_ref().map(|(path, _)| path.as_path());
        [Some(signature), beside].into_iter().flatten().filter_map(|path| signature_name(root, path)).collect()
    }

    /// What was signed, when all signatures hold.
    ///
    /// # Errors
    /// The first reason not to believe them.
    pub fn open(&self, trusted: &Trusted) -> Result<Opened, oms::Error> {
        match &self.pq {
            Some((_, pq)) => detached::open(&self.bundle, pq, trusted),
            None => oms::open(&self.bundle, trusted),
        }
    }
}

/// Where the post-quantum signature lies when it lies apart: `model.pq.sig` for `model.sig`.
pub fn pq_beside(signature: &Path) -> PathBuf {
    match signature.extension().is_some_and(|ending| ending == "sig") {
        true => signature.with_extension("pq.sig"),
        false => signature.with_added_extension("pq.sig"),
    }
}

/// Whether a program may load or run a file that no signature covers: by what it holds, its ending, or its mode.
pub fn is_loadable(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    if ENDINGS_LOADED.contains(&ending.as_str()) {
        return true;
    }
    #[cfg(unix)]
    if std::fs::metadata(path)
        .is_ok_and(|metadata| std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0)
    {
        return true;
    }
    // What cannot be read may be anything.
    let Ok(source) = FileSource::open(path) else { return true };
    let scan = Scanner::new(Limits::default()).scan(&path.to_string_lossy(), Arc::new(source));
    scan.is_model || scan.runs_code_by_design || scan.verdict >= Verdict::Suspicious
}

/// Bytes of the files at or under `root`, for a progress bar: what cannot be read counts nothing here and is said later.
pub fn bytes_under(root: &Path) -> u64 {
    let files = crate::walk::walk(".", root).files;
    files.iter().filter_map(|(_, path)| std::fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
}
