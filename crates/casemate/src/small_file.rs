//! Configuration-like files: regular, small and UTF-8, or a clear error. A FIFO would block, a device never ends.

use std::path::Path;

use casemate_core::{FileSource, Source as _, SourceExt as _};

/// No configuration, policy, waiver or list of limits is larger.
const BYTES_MAX: u64 = 4 << 20;

/// The text of the file at `path`; `None` where there is no file.
///
/// # Errors
/// One line that names the file and what is wrong with it.
pub fn read_if_there(path: &Path) -> Result<Option<String>, String> {
    bounded(path, BYTES_MAX)
}

/// The text of the file at `path`, which may be larger than a configuration.
///
/// # Errors
/// Those of [`read`].
pub fn read_up_to(path: &Path, bytes_max: u64) -> Result<String, String> {
    bounded(path, bytes_max)?.ok_or_else(|| format!("`{}` does not exist", path.display()))
}

/// The bytes of the file at `path`, which need not be text.
///
/// # Errors
/// Those of [`read`], except that any bytes are read.
pub fn bytes(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    bounded_bytes(path, bytes_max)?.ok_or_else(|| format!("`{}` does not exist", path.display()))
}

fn bounded(path: &Path, bytes_max: u64) -> Result<Option<String>, String> {
    let Some(bytes) = bounded_bytes(path, bytes_max)? else { return Ok(None) };
    let not_text = |_| format!("`{}`: is not UTF-8 text; write it again as UTF-8", path.display());
    String::from_utf8(bytes).map(Some).map_err(not_text)
}

fn bounded_bytes(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, String> {
    let named = |what: &dyn std::fmt::Display| format!("`{}`: {what}", path.display());
    let source = match FileSource::open(path) {
        Ok(source) => source,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(&error)),
    };
    if source.size_bytes() > bytes_max {
        return Err(named(&format!("is larger than {bytes_max} bytes")));
    }
    source.bytes_at(0, bytes_max).map(Some).map_err(|error| named(&error))
}

/// The text of the file at `path`.
///
/// # Errors
/// Those of [`read_if_there`], and when there is no file.
pub fn read(path: &Path) -> Result<String, String> {
    read_if_there(path)?.ok_or_else(|| format!("`{}` does not exist", path.display()))
}
