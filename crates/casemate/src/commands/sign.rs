//! `casemate sign`: signs a model as OpenSSF Model Signing v1.0.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use casemate_provenance::keys::certificate::Certificate;
use casemate_provenance::keys::signing::SigningKey;
use casemate_provenance::oms::compare::{ListError, list};
use casemate_provenance::oms::payload::HashType;
use casemate_provenance::oms::{self, Error, SignWith};

use super::keygen::password;
use crate::cache::digests::{self, DigestCache};
use crate::cli::{Format, HashKind, SignArgs};
use crate::context::{Context, write_whole};
use crate::exit::{Exit, Failure};
use crate::progress;
use crate::verifying::{bytes_under, key_failure, signature_name};

/// Runs the command.
pub fn run(context: &Context, args: &SignArgs) -> Result<Exit, Failure> {
    context.format(&[Format::Text])?;
    let password = args.password_file.as_deref().map(password).transpose()?;
    let load = |path: &Path| SigningKey::load(path, password.as_ref()).map_err(|error| key_failure(&error));
    let (key, pq_key) = (load(&args.key)?, args.pq_key.as_deref().map(load).transpose()?);
    let mut certificates = Vec::new();
    for path in args.certificate.iter().chain(&args.chain) {
        certificates.extend(Certificate::load(path).map_err(|error| key_failure(&error))?);
    }
    let root = std::fs::canonicalize(&args.model)
        .map_err(|error| Failure::usage(format!("`{}`: {error}", args.model.display())))?;
    let mut ignored = args.ignore.iter().map(|path| inside(&root, path)).collect::<Result<Vec<_>, _>>()?;
    // A signature inside the model cannot be part of what it signs.
    ignored.extend(signature_name(&root, &args.signature));
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
    let with = SignWith { key: &key, pq_key: pq_key.as_ref(), certificates: &certificates };
    let bundle = oms::sign(signed, with).map_err(|error| match error {
        Error::Key(error) => Failure::not_evaluated(error),
        error => Failure::usage(error),
    })?;
    write_whole(&args.signature, &bundle)?;

    let mut out = format!("signed {files} files with {}, in {}\n", hash_type.as_str(), args.signature.display());
    for key in [Some(&key), pq_key.as_ref()].into_iter().flatten() {
        let _ = writeln!(out, "  by {}", key.public().key_id());
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
