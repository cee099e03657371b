//! What the commands about sealed files share: keys from the command line, sealed files under a path, failures.

use std::path::{Path, PathBuf};

use casemate_core::FileSource;
use casemate_provenance::seal::age::AgeRecipient;
use casemate_provenance::seal::passphrase::Passphrase;
use casemate_provenance::seal::wrap::{KeyWrapper, Recipient};
use casemate_provenance::seal::{Container, Error, Opened, header, key_file};

use crate::cli::{KeyArgs, RecipientArgs};
use crate::commands::keygen::password;
use crate::exit::Failure;
use crate::remote_keys;
use crate::verifying::key_failure;
use crate::walk::walk;

/// What a sealed file's name ends with.
pub const ENDING: &str = ".cmv";

/// The keys given to open something with.
///
/// # Errors
/// When one cannot be read, or there is none.
pub fn keys(args: &KeyArgs) -> Result<Vec<Box<dyn KeyWrapper>>, Failure> {
    let mut keys = Vec::new();
    for path in args.key.iter().chain(&args.identity) {
        keys.extend(held(path)?);
    }
    for path in &args.passphrase_file {
        keys.push(Box::new(passphrase(path)?));
    }
    match keys.is_empty() {
        true => Err(Failure::usage("no key is given: add --key KEY, --identity FILE or --passphrase-file FILE")),
        false => Ok(keys),
    }
}

/// The keys at `path`: those of a file, or the one at the address of a key service.
fn held(path: &Path) -> Result<Vec<Box<dyn KeyWrapper>>, Failure> {
    match remote_keys::address(path) {
        Some(address) => remote_keys::wrapper(address).map(|key| vec![key]),
        None => key_file::load_keys(path).map_err(|error| key_failure(&error)),
    }
}

fn passphrase(path: &Path) -> Result<Passphrase, Failure> {
    Passphrase::new(password(path)?).map_err(Failure::not_evaluated)
}

/// Those named to seal something for.
///
/// # Errors
/// When one cannot be read, or there is none.
pub fn recipients(args: &RecipientArgs) -> Result<Vec<Box<dyn Recipient>>, Failure> {
    let mut recipients = named(&args.recipient)?;
    for path in &args.key {
        recipients.extend(held(path)?.into_iter().map(|key| Box::new(key) as Box<dyn Recipient>));
    }
    recipients.extend(passphrases(&args.passphrase_file)?);
    match recipients.is_empty() {
        true => Err(Failure::usage(
            "no key is given: add --key KEY (`casemate keygen --type aes-256-kek -o KEY`), --recipient or --passphrase-file",
        )),
        false => Ok(recipients),
    }
}

/// The recipients in words or files.
///
/// # Errors
/// When one is neither.
pub fn named(words: &[String]) -> Result<Vec<Box<dyn Recipient>>, Failure> {
    let mut recipients: Vec<Box<dyn Recipient>> = Vec::new();
    for word in words {
        match AgeRecipient::parse(word) {
            Some(age) => recipients.push(Box::new(age)),
            None if word.starts_with("age1") && !Path::new(word).exists() => {
                let message = format!("`{word}` is no age recipient: a letter is wrong or missing");
                return Err(Failure::usage(message));
            }
            None if remote_keys::address(Path::new(word)).is_some() => {
                recipients.push(Box::new(remote_keys::wrapper(word)?));
            }
            None => recipients.extend(key_file::load_recipients(Path::new(word)).map_err(|error| key_failure(&error))?),
        }
    }
    Ok(recipients)
}

/// Passphrases to seal something with.
///
/// # Errors
/// When one cannot be read.
pub fn passphrases(paths: &[PathBuf]) -> Result<Vec<Box<dyn Recipient>>, Failure> {
    paths.iter().map(|path| Ok(Box::new(passphrase(path)?) as Box<dyn Recipient>)).collect()
}

/// References to boxed keys.
pub fn borrowed<T: ?Sized>(boxes: &[Box<T>]) -> Vec<&T> {
    boxes.iter().map(|one| &**one).collect()
}

/// What an error means for the file at `path`.
pub fn failure(path: &Path, error: &Error) -> Failure {
    let message = format!("`{}`: {error}", path.display());
    match error {
        error if error.is_integrity() => Failure::integrity(message),
        Error::NoSuchKey { .. }
        | Error::Wraps { .. }
        | Error::Full
        | Error::NameTooLong
        | Error::OutOfRange { .. }
        | Error::TooLong { .. } => Failure::usage(message),
        Error::Write(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("{message}; --force replaces it"))
        }
        _ => Failure::not_evaluated(message),
    }
}

/// The source of a sealed file.
///
/// # Errors
/// When it cannot be read.
pub fn source(path: &Path) -> Result<FileSource, Failure> {
    FileSource::open(path).map_err(|error| Failure::not_evaluated(format!("`{}`: {error}", path.display())))
}

/// Opens the sealed file in `source` with one of `keys`.
///
/// # Errors
/// When it is not as it was sealed, or no key opens it.
pub fn unlock<'a>(path: &Path, source: &'a FileSource, keys: &[Box<dyn KeyWrapper>]) -> Result<Opened<'a>, Failure> {
    let container = Container::read(source).map_err(|error| failure(path, &error))?;
    // What an interrupted rewrap leaves looks like what somebody wrote there: neither is passed over.
    if container.has_rests() {
        return Err(Failure::integrity(format!(
            "`{0}`: its spare list of keys is not empty: a rewrap was interrupted, or the file was changed; `casemate rewrap {0} \
             --key KEY` checks it and clears that away",
            path.display()
        )));
    }
    container.unlock(&borrowed(keys)).map_err(|error| failure(path, &error))
}

/// Whether the file at `path` begins as a sealed one.
pub fn is_sealed(path: &Path) -> bool {
    use casemate_core::SourceExt as _;
    let head = FileSource::open(path).and_then(|source| source.bytes_at(0, header::MAGIC.len() as u64));
    head.is_ok_and(|head| head == header::MAGIC)
}

/// Whether the file at `path` has the whole shape of a sealed one, with keys.
pub fn is_container(path: &Path) -> bool {
    FileSource::open(path).is_ok_and(|source| Container::read(&source).is_ok_and(|container| container.wraps().is_ok()))
}

/// The sealed files under the directory `root`, each with its name there, the ending taken off.
///
/// # Errors
/// When something there is not sealed or cannot be looked at: opening the rest would give part of a model.
pub fn sealed_under(root: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let walked = walk(".", root);
    if let Some(skipped) = walked.skipped.iter().find(|skipped| skipped.matters) {
        return Err(Failure::not_evaluated(format!("`{}`: {}", skipped.path, skipped.reason)));
    }
    let mut found = Vec::new();
    for (shown, path) in walked.files {
        match shown.strip_suffix(ENDING) {
            Some(name) => found.push((name.to_owned(), path)),
            None => {
                let message = format!("`{}` is not a sealed file; move it elsewhere", path.display());
                return Err(Failure::integrity(message));
            }
        }
    }
    match found.is_empty() {
        true => Err(Failure::usage(format!("`{}` holds no sealed file", root.display()))),
        false => Ok(found),
    }
}

/// The keys among recipients that can open as well as seal.
///
/// # Errors
/// When one cannot be read.
pub fn keys_among(args: &RecipientArgs) -> Result<Vec<Box<dyn KeyWrapper>>, Failure> {
    let mut keys: Vec<Box<dyn KeyWrapper>> = Vec::new();
    for path in &args.key {
        keys.extend(key_file::load_keys(path).map_err(|error| key_failure(&error))?);
    }
    for path in args.recipient.iter().map(Path::new).filter(|path| path.exists()) {
        // A public key opens nothing, and is no mistake here.
        keys.extend(key_file::load_keys(path).unwrap_or_default());
    }
    for path in &args.passphrase_file {
        keys.push(Box::new(passphrase(path)?));
    }
    Ok(keys)
}
