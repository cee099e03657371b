//! What is signed: an in-toto statement whose predicate lists the files.
//!
//! The subject's digest is over contents alone, so two models with the same contents under other names share it: it is
//! checked and never used as a name. What the reference leaves out of its lists by default (`.gitattributes` and what else
//! begins with `.git`) stands in `predicate.casemate.also_covers`, which it skips.

use std::collections::HashSet;

use casemate_core::Digest;
use serde::{Deserialize, Serialize};

use super::shards::{self, Sharded};
use super::{Error, names};
use crate::hash::{self, HashChoice};
use crate::json;
use crate::statement::{STATEMENT_TYPE, Wire, WireDigest, WireSubject};

const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
const PREDICATE_TYPE_LEGACY: &str = "https://model_signing/Digests/v0.1";

/// Paths that the reference leaves out unless told otherwise.
pub const IGNORED_BY_DEFAULT: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// Files a list may name.
const RESOURCES_MAX: usize = 1 << 20;

/// Hash functions of signed lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashType {
    /// SHA-256, which every verifier reads.
    Sha256,
    /// BLAKE3, which the reference reads through its Python interface only.
    Blake3,
}

/// One file of a signed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its name below the root; `.` for a model that is a single file.
    pub name: String,
    /// Hash of its contents.
    pub digest: Digest,
}

/// A list of files, as signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Name of the model, for people.
    pub name: String,
    /// The hash function.
    pub hash_type: HashType,
    /// Whether the signer allowed files behind symbolic links.
    pub allow_symlinks: bool,
    /// Paths left out, with what lies below them.
    pub ignore_paths: Vec<String>,
    /// The files.
    pub resources: Vec<Resource>,
    /// Files that other verifiers leave out by default.
    pub also_covers: Vec<Resource>,
    /// Whether the signer looked at those paths at all.
    pub covers_defaults: bool,
    /// Kinds of the signatures that must be there.
    pub required_signatures: Vec<String>,
    /// How the files are cut, where they are hashed in shards; such lists are read and never written.
    pub sharded: Option<Sharded>,
    /// Oddities a person should know.
    pub notes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct WirePredicate {
    serialization: WireSerialization,
    resources: Vec<WireResource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    casemate: Option<WireExtension>,
}

#[derive(Serialize, Deserialize)]
struct WireSerialization {
    method: String,
    hash_type: String,
    #[serde(default)]
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
    #[serde(default, skip_serializing)]
    shard_size: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct WireResource {
    name: String,
    algorithm: String,
    digest: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireExtension {
    #[serde(default)]
    also_covers: Vec<WireResource>,
    #[serde(default)]
    required_signatures: Vec<String>,
}

#[derive(Deserialize)]
struct AnyPredicate {}

impl HashType {
    /// Its name in signed lists and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake3 => "blake3",
        }
    }

    /// What to compute.
    pub fn choice(self) -> HashChoice {
        match self {
            Self::Sha256 => HashChoice::Sha256,
            Self::Blake3 => HashChoice::Blake3,
        }
    }

    fn named(name: &str) -> Result<Self, Error> {
        match name {
            "sha256" => Ok(Self::Sha256),
            "blake3" => Ok(Self::Blake3),
            "blake2" | "blake2b" => Err(refused("blake2 is written under two names and verified under neither".into())),
            other => Err(refused(format!("hash function `{}` is not read", shown(other)))),
        }
    }
}

impl Signed {
    /// The statement, always the same bytes for the same list.
    pub fn to_json(&self) -> Vec<u8> {
        let resource = |resource: &Resource| WireResource {
            name: resource.name.clone(),
            algorithm: self.hash_type.as_str().into(),
            digest: resource.digest,
        };
        let predicate = WirePredicate {
            serialization: WireSerialization {
                method: "files".into(),
                hash_type: self.hash_type.as_str().into(),
                allow_symlinks: self.allow_symlinks,
                ignore_paths: self.ignore_paths.clone(),
                shard_size: None,
            },
            resources: self.resources.iter().map(resource).collect(),
            casemate: Some(WireExtension {
                also_covers: self.also_covers.iter().map(resource).collect(),
                required_signatures: self.required_signatures.clone(),
            }),
        };
        let subject = WireSubject {
            name: self.name.clone(),
            digest: WireDigest { sha256: root(self.resources.iter().map(|one| one.digest)) },
        };
        let wire = Wire {
            statement_type: STATEMENT_TYPE.into(),
            subject: vec![subject],
            predicate_type: PREDICATE_TYPE.into(),
            predicate,
        };
        serde_json::to_vec(&wire).expect("strings, digests and lists of them have a JSON form")
    }

    /// Reads a statement: types, names, and the subject's digest over the list.
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::Payload`], [`Error::Legacy`] for the form before v1.0 unless it is allowed.
    pub fn parse(bytes: &[u8], allow_legacy: bool) -> Result<Self, Error> {
        json::refuse_duplicate_keys(bytes).map_err(Error::Json)?;
        let head: Wire<AnyPredicate> = serde_json::from_slice(bytes).map_err(Error::Json)?;
        if head.statement_type != STATEMENT_TYPE {
            return Err(refused(format!("its `_type` is not `{STATEMENT_TYPE}`")));
        }
        let signed = match head.predicate_type.as_str() {
            PREDICATE_TYPE => Self::parse_current(bytes)?,
            PREDICATE_TYPE_LEGACY if allow_legacy => Self::parse_legacy(head),
            PREDICATE_TYPE_LEGACY => {
                return Err(Error::Legacy("the list of files has the form of a release before v1.0"));
            }
            other => return Err(refused(format!("its predicate type `{}` is not read", shown(other)))),
        };
        signed.check()
    }

    fn parse_current(bytes: &[u8]) -> Result<Self, Error> {
        let wire: Wire<WirePredicate> = serde_json::from_slice(bytes).map_err(Error::Json)?;
        let [subject] = wire.subject.as_slice() else {
            return Err(refused(format!("it has {} subjects, not one", wire.subject.len())));
        };
        let WirePredicate { serialization, resources, casemate } = wire.predicate;
        let hash_type = HashType::named(&serialization.hash_type)?;
        let root = root(resources.iter().map(|resource| resource.digest));
        let (sharded, resources) = match serialization.method.as_str() {
            "files" => (None, list(resources, hash_type)?),
            "shards" if hash_type == HashType::Sha256 && casemate.is_none() => {
                require_few(resources.len())?;
                let shards = resources.into_iter().map(|wire| (wire.name, wire.algorithm, wire.digest)).collect();
                let (sharded, files) = shards::files(shards, serialization.shard_size)?;
                (Some(sharded), files)
            }
            "shards" => return Err(refused("shards are read as the reference writes them, hashed with sha256".into())),
            other => return Err(refused(format!("the method `{}` is not read: sign whole files", shown(other)))),
        };
        let covers_defaults = casemate.is_some();
        let extension = casemate.unwrap_or(WireExtension { also_covers: Vec::new(), required_signatures: Vec::new() });
        let signed = Self {
            name: subject.name.clone(),
            hash_type,
            allow_symlinks: serialization.allow_symlinks,
            ignore_paths: serialization.ignore_paths,
            resources,
            also_covers: list(extension.also_covers, hash_type)?,
            covers_defaults,
            required_signatures: extension.required_signatures,
            sharded,
            notes: Vec::new(),
        };
        match root == subject.digest.sha256 {
            true => Ok(signed),
            false => Err(refused("the subject's digest is not that of the list".into())),
        }
    }

    fn parse_legacy(wire: Wire<AnyPredicate>) -> Self {
        let resource = |subject: WireSubject| Resource { name: subject.name, digest: subject.digest.sha256 };
        Self {
            name: String::new(),
            hash_type: HashType::Sha256,
            allow_symlinks: false,
            ignore_paths: IGNORED_BY_DEFAULT.map(str::to_owned).into(),
            resources: wire.subject.into_iter().map(resource).collect(),
            also_covers: Vec::new(),
            covers_defaults: false,
            required_signatures: Vec::new(),
            sharded: None,
            notes: Vec::new(),
        }
    }

    /// The list, when it says one thing.
    fn check(mut self) -> Result<Self, Error> {
        if self.resources.is_empty() {
            return Err(refused("it names no file, so any directory would match".into()));
        }
        let named = || self.resources.iter().chain(&self.also_covers).map(|resource| resource.name.as_str());
        require_few(named().count())?;
        let mut seen = HashSet::new();
        for name in named() {
            if let Some(why) = names::refusal(name) {
                return Err(refused(format!("the name `{}` {why}", shown(name))));
            }
            if !seen.insert(name) {
                return Err(refused(format!("`{}` is named twice", shown(name))));
            }
        }
        if seen.contains(".") && seen.len() > 1 {
            return Err(refused("it names a single file and others beside it".into()));
        }
        // The reference writes ignored paths below the root, and `.` where the whole model is meant.
        for ignored in &self.ignore_paths {
            let why = if ignored == "." { Some("would ignore the whole model") } else { names::refusal(ignored) };
            if let Some(why) = why {
                return Err(refused(format!("the ignored path `{}` {why}", shown(ignored))));
            }
        }
        let folded = names::collisions(named());
        let note = |(one, other): &(&str, &str)| {
            format!("`{}` and `{}` are one name where case does not count", shown(one), shown(other))
        };
        self.notes = folded.iter().map(note).collect();
        Ok(self)
    }
}

/// SHA-256 over the digests in order, whatever hash made them.
fn root(digests: impl Iterator<Item = Digest>) -> Digest {
    hash::sha256(&digests.flat_map(|digest| digest.0).collect::<Vec<u8>>())
}

fn require_few(names: usize) -> Result<(), Error> {
    match names > RESOURCES_MAX {
        true => Err(refused(format!("it names more than {RESOURCES_MAX} files"))),
        false => Ok(()),
    }
}

fn list(resources: Vec<WireResource>, hash_type: HashType) -> Result<Vec<Resource>, Error> {
    let one = |wire: WireResource| match wire.algorithm == hash_type.as_str() {
        true => Ok(Resource { name: wire.name, digest: wire.digest }),
        false => Err(refused(format!("`{}` is hashed with `{}`", shown(&wire.name), shown(&wire.algorithm)))),
    };
    resources.into_iter().map(one).collect()
}

fn refused(what: String) -> Error {
    Error::Payload(what)
}

/// Foreign text for a message.
fn shown(text: &str) -> String {
    text.chars().take(120).flat_map(char::escape_debug).collect()
}
