//! `casemate crypto-erase`: destroys the keys of sealed files and shows that nothing opens them any more.
//!
//! It becomes no evidence: that every copy was found, that nothing has to be kept, and a certificate, are more than this
//! command can see (control RET-04).

use std::fmt::Write as _;
use std::path::Path;

use casemate_provenance::seal::place::{erase, erase_key_file};
use casemate_provenance::seal::wrap::{KeyWrapper, WrapKind};
use casemate_provenance::seal::{Container, Error, key_file};

use crate::cli::{EraseArgs, Format};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::sealing::{failure, keys, source};
use crate::verifying::key_failure;

/// What this cannot reach.
const LIMITS: &str = "not reached: copies of the files made before (backups, snapshots, replicas) under keys that live on, backups \
                      of destroyed key files, and blocks that an SSD or a copy-on-write or journaling file system keeps of what was overwritten";

/// Runs the command.
pub fn run(context: &Context, args: &EraseArgs) -> Result<Exit, Failure> {
    context.format(&[Format::Text])?;
    let given = &args.with;
    let none = given.key.is_empty() && given.identity.is_empty() && given.passphrase_file.is_empty();
    let mut known = if none { Vec::new() } else { keys(given)? };
    for path in &args.kek {
        known.extend(key_file::load_keys(path).map_err(|error| key_failure(&error))?);
    }
    let mut out = String::new();
    for path in &args.files {
        erase_one(path, &known, &mut out)?;
    }
    for path in &args.kek {
        erase_key_file(path)
            .map_err(|error| Failure::not_evaluated(format!("key file `{}`: {error}", path.display())))?;
        if path.exists() {
            return Err(Failure::integrity(format!("key file `{}` is still there", path.display())));
        }
        let _ = writeln!(out, "destroyed key file {}: overwritten and removed", path.display());
    }
    let _ = writeln!(out, "{LIMITS}");
    context.to_stdout(&out)?;
    Ok(Exit::Passed)
}

fn erase_one(path: &Path, known: &[Box<dyn KeyWrapper>], out: &mut String) -> Result<(), Failure> {
    let fail = |error: &Error| failure(path, error);
    let before = opening(path, known)?;
    let destroyed = erase(path).map_err(|error| fail(&error))?;
    let names: Vec<String> = destroyed.into_iter().map(|named| named.kek_id).collect();
    if let Some(opens) = opening(path, known)?.first() {
        return Err(Failure::integrity(format!("`{}` still opens with {opens}", path.display())));
    }
    let shown = if names.is_empty() { "none was left".to_owned() } else { names.join(", ") };
    let _ = writeln!(out, "destroyed the wrapped keys of {}: {shown}", path.display());
    let _ = match before.len() {
        0 => writeln!(
            out,
            "  none of the keys given opened it before; its list of keys is empty now, read back from the file"
        ),
        _ => writeln!(out, "  opened before and does not now: {}", before.join(", ")),
    };
    Ok(())
}

/// Names of the keys that open the file at `path`.
fn opening(path: &Path, keys: &[Box<dyn KeyWrapper>]) -> Result<Vec<String>, Failure> {
    let source = source(path)?;
    let mut names = Vec::new();
    for key in keys {
        let opened = Container::read(&source).and_then(|container| container.unlock(&[&**key]));
        match opened {
            // A passphrase is named by the salt of what it sealed; of this one nothing was.
            Ok(_) if key.kind() == WrapKind::Passphrase => names.push("the passphrase".into()),
            Ok(_) => names.push(key.kek_id()),
            Err(error @ (Error::NotSealed | Error::Read(_))) => return Err(failure(path, &error)),
            // Whatever else keeps it from opening keeps it from opening.
            Err(_) => {}
        }
    }
    Ok(names)
}
