//! Keys that lie in a key service and never leave it: HashiCorp Vault's transit engine and AWS KMS.
//!
//! A service signs hashes and wraps data keys on request; what is given for a key on the command line is then an address,
//! written as cosign writes it. The threats: a token that reaches somebody else, so it goes to the named server alone, encrypted
//! unless that is this machine, and stands in no message; and a service that lies, so no signature of it counts before the
//! public key says so ([`casemate_provenance::oms`]), and every answer is bounded and read strictly.
//!
//! Every request here changes nothing on the service, so asking again after a lost answer is safe.

mod aws_kms;
mod vault;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use casemate_core::Secret;
use casemate_provenance::keys::Error as KeyError;
use casemate_provenance::keys::signer::ModelSigner;
use casemate_provenance::keys::signing::VerifyingKey;
use casemate_provenance::seal::wrap::{BLOB_BYTES_MAX, KeyWrapper, WrapError, WrapKind};
use serde::de::DeserializeOwned;

use crate::exit::Failure;
use crate::remote::client::{Client, Request, Response};
use crate::remote::error::Error;

/// Longest answer of a key service: the public keys of a thousand versions.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Longest wait for a connection, the head of an answer, and its body, each.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a variable of the environment is set to, if it is to something.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why a key service did not do what it was asked; every text says what to do next and holds nothing secret.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// An address, a variable, or a key of the wrong type.
    #[error("{0}")]
    Setting(String),
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// It did not answer, or cannot now.
    #[error("{0}")]
    Unreachable(String),
    /// Its answer is none.
    #[error("{0}")]
    Malformed(String),
}

/// The public part of a key that signs.
#[derive(Clone, Debug)]
struct SigningPart {
    public: VerifyingKey,
    /// Which of its versions it is, where the service keeps several.
    version: u32,
}

/// A key in a service.
trait KeyService: fmt::Debug + Send + Sync {
    /// How it wraps keys.
    fn kind(&self) -> WrapKind;
    /// The public key and version that sign.
    fn signing_part(&self) -> Result<SigningPart, Trouble>;
    /// The DER signature of a hash, by that version.
    fn sign(&self, part: &SigningPart, hash: &[u8]) -> Result<Vec<u8>, Trouble>;
    /// `key` encrypted, bound to `context`.
    fn encrypt(&self, key: &Secret<[u8; 32]>, context: &[u8]) -> Result<Vec<u8>, Trouble>;
    /// What `blob` holds, if it is bound to `context`.
    fn decrypt(&self, blob: &[u8], context: &[u8]) -> Result<Secret<[u8; 32]>, Trouble>;
}

/// The address of a key in a service that `path` is, rather than the path of a file.
pub fn address(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| text.contains("://"))
}

/// What signs with the key at `address`. Asks the service for the public key.
///
/// # Errors
/// When the address or the environment is wrong, or the service does not answer.
pub fn signer(address: &str) -> Result<Box<dyn ModelSigner>, Failure> {
    signer_in(address, &from_environment)
}

/// The public key of the key at `address`.
///
/// # Errors
/// Those of [`signer`].
pub fn public_key(address: &str) -> Result<VerifyingKey, Failure> {
    signer(address).map(|signer| signer.public().clone())
}

/// What wraps data keys with the key at `address`. Asks nobody yet.
///
/// # Errors
/// When the address or the environment is wrong.
pub fn wrapper(address: &str) -> Result<Box<dyn KeyWrapper>, Failure> {
    wrapper_in(address, &from_environment)
}

fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn signer_in(address: &str, set: Environment<'_>) -> Result<Box<dyn ModelSigner>, Failure> {
    let service = service(address, set).map_err(|trouble| failure(address, &trouble))?;
    let part = service.signing_part().map_err(|trouble| failure(address, &trouble))?;
    Ok(Box::new(RemoteSigner { address: address.into(), service, part }))
}

fn wrapper_in(address: &str, set: Environment<'_>) -> Result<Box<dyn KeyWrapper>, Failure> {
    let service = service(address, set).map_err(|trouble| failure(address, &trouble))?;
    Ok(Box::new(RemoteWrapper { address: address.into(), service }))
}

fn service(address: &str, set: Environment<'_>) -> Result<Box<dyn KeyService>, Trouble> {
    match address.split_once("://") {
        Some(("hashivault", rest)) => Ok(Box::new(vault::Vault::new(rest, set)?)),
        Some(("awskms", rest)) => Ok(Box::new(aws_kms::AwsKms::new(rest, set)?)),
        _ => Err(Trouble::Setting(
            "no key service this build speaks to; it knows hashivault://NAME and awskms:///KEY-ID".into(),
        )),
    }
}

fn failure(address: &str, trouble: &Trouble) -> Failure {
    let message = format!("`{}`: {trouble}", crate::remote::shown(address));
    match trouble {
        Trouble::Setting(_) => Failure::usage(message),
        _ => Failure::not_evaluated(message),
    }
}

/// Signs through a service.
#[derive(Debug)]
struct RemoteSigner {
    address: String,
    service: Box<dyn KeyService>,
    part: SigningPart,
}

impl ModelSigner for RemoteSigner {
    fn public(&self) -> &VerifyingKey {
        &self.part.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let elsewhere = |what: String| KeyError::Elsewhere { key: self.address.clone(), what };
        let hash = self.part.public.key_type.prehash(message);
        let hash = hash.ok_or_else(|| elsewhere("key services sign with ECDSA only".into()))?;
        self.service.sign(&self.part, &hash).map_err(|trouble| elsewhere(trouble.to_string()))
    }
}

/// Wraps data keys through a service.
struct RemoteWrapper {
    address: String,
    service: Box<dyn KeyService>,
}

impl RemoteWrapper {
    fn error(&self, trouble: Trouble) -> WrapError {
        let (kek_id, reason) = (self.kek_id(), trouble.to_string());
        match trouble {
            Trouble::Setting(_) | Trouble::Refused(_) => WrapError::Refused { kek_id, reason },
            Trouble::Unreachable(_) => WrapError::Unreachable { kek_id, reason },
            Trouble::Malformed(_) => WrapError::Malformed { kek_id, reason },
        }
    }
}

impl KeyWrapper for RemoteWrapper {
    fn kind(&self) -> WrapKind {
        self.service.kind()
    }

    fn kek_id(&self) -> String {
        format!("{}:{}", self.kind(), self.address)
    }

    fn wrap(&self, key: &Secret<[u8; 32]>, context: &[u8]) -> Result<Vec<u8>, WrapError> {
        let blob = self.service.encrypt(key, context).map_err(|trouble| self.error(trouble))?;
        match (1..=BLOB_BYTES_MAX).contains(&blob.len()) {
            true => Ok(blob),
            false => Err(self.error(malformed(&format!("a wrapped key of {} bytes", blob.len())))),
        }
    }

    fn unwrap(&self, blob: &[u8], context: &[u8]) -> Result<Secret<[u8; 32]>, WrapError> {
        if blob.len() > BLOB_BYTES_MAX {
            return Err(self.error(malformed("a wrapped key that is too long")));
        }
        self.service.decrypt(blob, context).map_err(|trouble| self.error(trouble))
    }
}

/// Asks, and gives the answer's head.
fn ask(client: &Client, request: &Request<'_>) -> Result<Response, Trouble> {
    let response = client.ask(request).map_err(trouble)?;
    match response.status {
        300..=399 => {
            // Where to is said without a query, which may hold a secret.
            let target = response.header("location").and_then(|target| request.url.join(target).ok());
            let target = target.map_or_else(|| "elsewhere".into(), |target| format!("to `{}`", target.shown()));
            Err(Trouble::Unreachable(format!(
                "`{}` redirects {target}; no secret follows a redirect: if you trust that server, name it itself",
                request.url.origin()
            )))
        }
        _ => Ok(response),
    }
}

/// The bytes of an answer, which may hold a secret.
fn body(client: &Client, response: Response) -> Result<Secret<Vec<u8>>, Trouble> {
    response.body(client, ANSWER_BYTES_MAX).map(Secret::new).map_err(trouble)
}

/// An answer as what it should be. What is wrong with one is not said, since it may hold a secret.
fn read<T: DeserializeOwned>(answer: &Secret<Vec<u8>>) -> Result<T, Trouble> {
    serde_json::from_slice(answer.expose()).map_err(|_| malformed("an answer of another form than its interface has"))
}

fn malformed(what: &str) -> Trouble {
    Trouble::Malformed(format!("the service gave {what}; check that the address is that of a key service"))
}

/// What the client says, for somebody who gave a key and no address of a file.
fn trouble(error: Error) -> Trouble {
    match error {
        Error::Insecure { url } => Trouble::Setting(format!(
            "`{url}` is not encrypted, and the request carries a secret: use https://; http:// is for this machine only"
        )),
        Error::Timeout { url, what, seconds } => Trouble::Unreachable(format!(
            "`{url}`: {what} within {seconds} s; check that the service runs, and try again"
        )),
        Error::TooLong { .. } | Error::Encoded { .. } => malformed(&error.to_string()),
        Error::Listing { .. } | Error::Certificates { .. } => Trouble::Setting(error.to_string()),
        error => Trouble::Unreachable(error.to_string()),
    }
}

/// Text of a service for a message: short, printable, and without `secret`, which a service might echo.
fn said(text: &str, secret: &Secret<String>) -> String {
    let text = text.replace(secret.expose().as_str(), "[secret]");
    text.chars().take(300).flat_map(char::escape_debug).collect()
}

/// The 32 bytes of a data key.
fn data_key(bytes: Option<Vec<u8>>) -> Result<Secret<[u8; 32]>, Trouble> {
    let bytes = bytes.map(Secret::new);
    let key = bytes.as_ref().and_then(|bytes| <[u8; 32]>::try_from(bytes.expose().as_slice()).ok());
    key.map(Secret::new).ok_or_else(|| malformed("something that is no data key"))
}
