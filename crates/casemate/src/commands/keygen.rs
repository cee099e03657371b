//! `casemate keygen`: makes a key pair in two files.

use std::path::{Path, PathBuf};

use casemate_core::Secret;
use casemate_provenance::KeyPair;
use casemate_provenance::keys::ml_dsa_44::{self, MlDsa44Pair};
use casemate_provenance::keys::signing::{KeyType, SigningKey};

use crate::cli::{Format, KeyKind, KeygenArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::small_file;

/// Runs the command.
pub fn run(context: &Context, args: &KeygenArgs) -> Result<Exit, Failure> {
    context.format(&[Format::Text])?;
    let private = context.globals.output.clone().unwrap_or_else(|| PathBuf::from("casemate-key.pem"));
    let public = public_path(&private);
    if public.exists() {
        return Err(Failure::usage(format!("`{}` exists; choose another name with -o", public.display())));
    }
    let password = args.password_file.as_deref().map(password).transpose()?;
    let name = match key_type(args.key_type) {
        Some(key_type) => {
            let key = SigningKey::generate(key_type).map_err(Failure::not_evaluated)?;
            key.save(&private, password.as_ref()).map_err(Failure::not_evaluated)?;
            key.public().save(&public).map_err(Failure::not_evaluated)?;
            key.public().key_id()
        }
        None if password.is_some() => {
            return Err(Failure::usage("Ed25519 and ML-DSA-44 keys are written without a password"));
        }
        None if args.key_type == KeyKind::MlDsa44 => {
            let pair = MlDsa44Pair::generate().map_err(Failure::not_evaluated)?;
            pair.save(&private).map_err(Failure::not_evaluated)?;
            pair.save_public(&public).map_err(Failure::not_evaluated)?;
            ml_dsa_44::key_id(pair.public())
        }
        None => {
            let pair = KeyPair::generate().map_err(Failure::not_evaluated)?;
            pair.save(&private).map_err(Failure::not_evaluated)?;
            pair.public().save(&public).map_err(Failure::not_evaluated)?;
            format!("ed25519:{}", pair.public().key_id())
        }
    };
    context.to_stdout(&format!("{name}\nprivate  {}\npublic   {}\n", private.display(), public.display()))?;
    Ok(Exit::Passed)
}

fn key_type(kind: KeyKind) -> Option<KeyType> {
    match kind {
        KeyKind::EcdsaP256 => Some(KeyType::EcdsaP256),
        KeyKind::EcdsaP384 => Some(KeyType::EcdsaP384),
        KeyKind::EcdsaP521 => Some(KeyType::EcdsaP521),
        KeyKind::MlDsa65 => Some(KeyType::MlDsa65),
        KeyKind::Ed25519 | KeyKind::MlDsa44 => None,
    }
}

/// `KEY.pub.pem` beside `KEY.pem`.
fn public_path(private: &Path) -> PathBuf {
    match private.extension().is_some_and(|ending| ending == "pem") {
        true => private.with_extension("pub.pem"),
        false => private.with_added_extension("pub.pem"),
    }
}

/// The first line of a password file.
///
/// # Errors
/// When it cannot be read or is empty.
pub fn password(path: &Path) -> Result<Secret<Vec<u8>>, Failure> {
    let text = Secret::new(small_file::read(path).map_err(Failure::usage)?);
    match text.expose().lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line.as_bytes().to_vec())),
        _ => Err(Failure::usage(format!("`{}` holds no password", path.display()))),
    }
}
