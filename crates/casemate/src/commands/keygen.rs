//! `casemate keygen`: makes a key pair in two files.

use std::path::{Path, PathBuf};

use casemate_core::Secret;
use casemate_provenance::KeyPair;
use casemate_provenance::keys::ml_dsa_44::{self, MlDsa44Pair};
use casemate_provenance::keys::signing::{KeyType, SigningKey};
use casemate_provenance::seal::hybrid::HybridKey;
use casemate_provenance::seal::wrap::KeyWrapper as _;
use casemate_provenance::seal::{LocalKey, key_file};

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
    if let Some(kind) = SealingKey::of(args.key_type) {
        return sealing_key(context, kind, &private, &public, password.is_some());
    }
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
        KeyKind::Ed25519 | KeyKind::MlDsa44 | KeyKind::Aes256Kek | KeyKind::Mlkem768X25519 => None,
    }
}

/// Kinds of keys that wrap data keys.
enum SealingKey {
    Local,
    Hybrid,
}

impl SealingKey {
    fn of(kind: KeyKind) -> Option<Self> {
        match kind {
            KeyKind::Aes256Kek => Some(Self::Local),
            KeyKind::Mlkem768X25519 => Some(Self::Hybrid),
            _ => None,
        }
    }
}

fn sealing_key(
    context: &Context,
    kind: SealingKey,
    private: &Path,
    public: &Path,
    with_password: bool,
) -> Result<Exit, Failure> {
    if with_password {
        return Err(Failure::usage(
            "keys for sealing are written without a password; seal with --passphrase-file instead",
        ));
    }
    let text = match kind {
        SealingKey::Local => {
            let key = LocalKey::generate().map_err(Failure::not_evaluated)?;
            key_file::save_local(&key, private).map_err(Failure::not_evaluated)?;
            format!("{}\nprivate  {}\n", key.kek_id(), private.display())
        }
        SealingKey::Hybrid => {
            let key = HybridKey::generate().map_err(Failure::not_evaluated)?;
            key_file::save_hybrid(&key, private, public).map_err(Failure::not_evaluated)?;
            format!("{}\nprivate  {}\npublic   {}\n", key.kek_id(), private.display(), public.display())
        }
    };
    context.to_stdout(&text)?;
    Ok(Exit::Passed)
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
