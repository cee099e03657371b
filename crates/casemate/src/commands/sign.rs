//! `casemate sign`: signs a model as OpenSSF Model Signing v1.0.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use casemate_core::Secret;
use casemate_provenance::keys::certificate::Certificate;
use casemate_provenance::keys::signer::ModelSigner;
use casemate_provenance::keys::signing::SigningKey;
use casemate_provenance::oms::compare::{ListError, list};
use casemate_provenance::oms::detached::{self, Detached};
use casemate_provenance::oms::payload::{HashType, Signed};
use casemate_provenance::oms::{self, Error, SignWith};

use super::keygen::password;
use crate::cache::digests::{self, DigestCache};
use crate::cli::{Format, HashKind, SignArgs};
use crate::context::{Context, write_whole};
use crate::exit::{Exit, Failure};
use crate::progress;
use crate::remote_keys;
use crate::verifying::{bytes_under, key_failure, pq_beside, signature_name};

/// Runs the command.
pub fn run(context: &Context, args: &SignArgs) -> Result<Exit, Failure> {
    context.format(&[Format::Text])?;
    let password = args.password_file.as_deref().map(password).transpose()?;
    let key = signing_key(&args.key, password.as_ref())?;
    let pq_key = args.pq_key.as_deref().map(|path| key_in_file(path, password.as_ref())).transpose()?;
    let pq_file = pq_file(args)?;
    let mut certificates = Vec::new();
    for path in args.certificate.iter().chain(&args.chain) {
        certificates.extend(Certificate::load(path).map_err(|error| key_failure(&error))?);
    }
    let root = std::fs::canonicalize(&args.model)
        .map_err(|error| Failure::usage(format!("`{}`: {error}", args.model.display())))?;
    let mut ignored = args.ignore.iter().map(|path| inside(&root, path)).collect::<Result<Vec<_>, _>>()?;
    // A signature inside the model cannot be part of what it signs.
    ignored.extend(
        [Some(&args.signature), pq_file.as_ref()].into_iter().flatten().filter_map(|path| signature_name(&root, path)),
    );
    let hash_type = match args.hash {
        HashKind::Sha256 => HashType::Sha256,
        HashKind::Blake3 => HashType::Blake3,
    };
    let cache = DigestCache::open(context, context.project(None).ok().as_ref(), &root, digests::draw(&args.reuse)?);
    let bar = progress::bar(context, "hashing", bytes_under(&root));
    let known = Some(cache.known());
    let signed =
        list(&root, hash_type, &ignored, known, &|done| bar.set_position(done)).map_err(|error| match error {
            ListError::Manifest(error) => cache.failure(&error),
            error => Failure::usage(error),
        })?;
    bar.finish_and_clear();
    cache.close(context, !ignored.is_empty());
    let (files, beside, links) = (signed.resources.len(), signed.also_covers.len(), signed.allow_symlinks);
    let pq_signer = pq_key.as_ref().map(|key| key as &dyn ModelSigner);
    let with = SignWith { key: &*key, pq_key: pq_signer, certificates: &certificates };
    write(signed, with, &args.signature, pq_file.as_deref())?;

    let mut out = format!("signed {files} files with {}, in {}\n", hash_type.as_str(), args.signature.display());
    for key in [Some(&*key), pq_signer].into_iter().flatten() {
        let _ = writeln!(out, "  by {}", key.public().key_id());
    }
    if let Some(pq_file) = &pq_file {
        let _ = writeln!(out, "  the post-quantum signature is in {}", pq_file.display());
    }
    context.to_stdout(&out)?;
    if let Some(remark) = cache.remark() {
        context.say(&remark);
    }
    if beside > 0 {
        context.say(&format!(
            "{beside} files that other verifiers leave out (.gitattributes, .github …) are covered here"
        ));
    }
    if links {
        context.say("some files lie behind symbolic links: other verifiers need --allow_symlinks");
    }
    if hash_type == HashType::Blake3 {
        context.say("the reference verifies blake3 through its Python interface, not through its command line");
    }
    Ok(Exit::Passed)
}

/// What signs first: a key in a file, or in a service.
fn signing_key(path: &Path, password: Option<&Secret<Vec<u8>>>) -> Result<Box<dyn ModelSigner>, Failure> {
    match remote_keys::address(path) {
        Some(address) => remote_keys::signer(address),
        None => key_in_file(path, password).map(|key| Box::new(key) as Box<dyn ModelSigner>),
    }
}

fn key_in_file(path: &Path, password: Option<&Secret<Vec<u8>>>) -> Result<SigningKey, Failure> {
    if let Some(address) = remote_keys::address(path) {
        let message = format!("`{}`: a post-quantum key lies in a file; key services sign with ECDSA", address);
        return Err(Failure::usage(message));
    }
    SigningKey::load(path, password).map_err(|error| key_failure(&error))
}

/// Where the post-quantum signature goes, when it goes apart.
fn pq_file(args: &SignArgs) -> Result<Option<PathBuf>, Failure> {
    let file = args.pq_detached.as_ref().map(|file| file.clone().unwrap_or_else(|| pq_beside(&args.signature)));
    match file.as_ref() == Some(&args.signature) {
        true => Err(Failure::usage("--pq-detached and --signature name one file; a signature each needs its own")),
        false => Ok(file),
    }
}

/// Signs and writes: one file, or two.
fn write(signed: Signed, with: SignWith<'_>, signature: &Path, pq_file: Option<&Path>) -> Result<(), Failure> {
    let failure = |error| match error {
        error @ Error::NotSigned { .. } => Failure::integrity(error),
        Error::Key(error) => Failure::not_evaluated(error),
        error => Failure::usage(error),
    };
    match pq_file {
        Some(pq_file) => {
            let Detached { bundle, pq } = detached::sign(signed, with).map_err(failure)?;
            write_whole(pq_file, &pq)?;
            write_whole(signature, &bundle)
        }
        None => write_whole(signature, &oms::sign(signed, with).map_err(failure)?),
    }
}

/// `path`, given from the model or from here, as a name inside the model.
fn inside(root: &Path, path: &str) -> Result<String, Failure> {
    let given = Path::new(path);
    let real = [root.join(given), PathBuf::from(given)].iter().find_map(|place| std::fs::canonicalize(place).ok());
    let below = real.as_deref().and_then(|real| real.strip_prefix(root).ok()).and_then(Path::to_str);
    match below.filter(|below| !below.is_empty()) {
        Some(below) => Ok(below.replace(std::path::MAIN_SEPARATOR, "/")),
        None => Err(Failure::usage(format!("`--ignore {path}` names nothing inside the model"))),
    }
}
