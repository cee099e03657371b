//! Numbers that only another file tells from noise: shards of weights, chunks of arrays.
//!
//! Such a file has no structure of its own; a list or a description in its folder, or in one above, says what it is. The
//! caller opens those files; members of an archive have each other.

use std::collections::HashMap;

use casemate_core::SharedSource;

use super::{manifest, zarr};
use crate::{Child, Role};

/// Opens a file by its name in the folder of the one that is scanned, or, behind `../`, in one above; `None` where there is
/// none.
pub type Beside<'a> = dyn Fn(&str) -> Option<SharedSource> + 'a;

/// Members of one archive that are looked up: each reads what describes it again.
const LOOKUPS_MAX: usize = 256;

/// Whether another file says that the one at `path` is numbers from its first byte to its last, packed or not.
pub(super) fn declares(path: &str, source: &SharedSource, beside: &Beside<'_>) -> bool {
    manifest::declares(path, source.size_bytes(), beside) || zarr::declares(path, source, beside)
}

/// For each member of an archive, whether another one declares it.
pub(super) fn declared(members: &[Child]) -> Vec<bool> {
    let may_be =
        |member: &Child| member.role == Role::Any && (member.name.ends_with(".bin") || zarr::is_chunk(&member.name));
    if !members.iter().any(may_be) {
        return vec![false; members.len()];
    }
    let by_name: HashMap<&str, &Child> = members.iter().map(|member| (member.name.as_str(), member)).collect();
    let mut lookups = 0;
    let is_declared = |member: &Child| {
        if !may_be(member) || lookups >= LOOKUPS_MAX {
            return false;
        }
        lookups += 1;
        let beside = |name: &str| {
            let found = by_name.get(resolve(&member.name, name)?.as_str())?;
            Some(SharedSource::clone(&found.source))
        };
        declares(&member.name, &member.source, &beside)
    };
    members.iter().map(is_declared).collect()
}

/// The name of a member as seen from another.
fn resolve(from: &str, name: &str) -> Option<String> {
    let above = name.matches("../").count();
    let mut folders: Vec<&str> = from.split('/').collect();
    folders.truncate(folders.len().checked_sub(above + 1)?);
    folders.push(name.trim_start_matches("../"));
    Some(folders.join("/"))
}
