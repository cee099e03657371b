//! `[[base]]`: a model of somebody else that the project's own build on, and what its publisher states of it.
//!
//! The statement stands here and not beside the files: whoever can replace a file can replace a checksum next to it.

use std::collections::{BTreeMap, BTreeSet};

use casemate_core::Digest;
use serde::Deserialize;

use super::{DECLARED_MAX, ModelConfig, NAME_BYTES_MAX, inside};

/// `[[base]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseConfig {
    /// Name.
    pub name: String,
    /// File or directory with its files, relative to the project's directory.
    pub path: String,
    /// Where it came from: `hf://ORG/NAME[@REVISION]` or a web address.
    pub source: String,
    /// Commit it was fetched at, or `sha256:` and the digest it was fetched by.
    pub revision: Option<String>,
    /// `sha256:` and the digest of the manifest of all its files.
    pub digest: Option<String>,
    /// `sha256:` and digest, by name of file.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// The publisher's list of SHA-256 checksums, relative to the project's directory and outside of the base.
    pub checksums: Option<String>,
    /// The publisher's signature, relative to the project's directory.
    pub signature: Option<String>,
    /// The publisher's public key.
    pub key: Option<String>,
    /// Authorities whose certificates count for the publisher, instead of a key.
    pub roots: Option<String>,
    /// Whom the certificate must name.
    pub identity: Option<String>,
    /// Models of the project that build on it; all of them where none are named.
    #[serde(default)]
    pub models: Vec<String>,
}

impl BaseConfig {
    /// Whether the project's model of this name builds on it.
    pub fn is_of(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|name| name == model)
    }

    fn check(&mut self, models: &[ModelConfig]) -> Result<(), String> {
        let name = self.name.clone();
        let path = inside(&self.path).ok_or_else(|| {
            format!("base `{name}`: `{}` must be a path below the project's directory, without `..`", self.path)
        })?;
        for given in self.digest.iter().chain(self.files.values()) {
            digest(given)
                .ok_or_else(|| format!("base `{name}`: `{given}` must be `sha256:` and 64 lower-case digits"))?;
        }
        for (what, file) in [("checksums", &mut self.checksums), ("signature", &mut self.signature)] {
            let Some(file) = file else { continue };
            let one = inside(file).ok_or_else(|| {
                format!("base `{name}`: {what} `{file}` must be a file below the project's directory, without `..`")
            })?;
            let is_within =
                path == "." || one == path || one.strip_prefix(&path).is_some_and(|rest| rest.starts_with('/'));
            if what == "checksums" && is_within {
                return Err(format!(
                    "base `{name}`: checksums `{one}` lies beside the files, and would be replaced with them; keep it outside"
                ));
            }
            *file = one;
        }
        let signer = (self.key.is_some(), self.roots.is_some(), self.identity.is_some());
        let is_whole = match signer {
            (false, false, false) => self.signature.is_none(),
            (true, false, false) | (false, true, true) => self.signature.is_some(),
            _ => false,
        };
        if !is_whole {
            return Err(format!(
                "base `{name}`: a `signature` needs a `key`, or `roots` and `identity`, and they need it"
            ));
        }
        if let Some(unknown) = self.models.iter().find(|name| !models.iter().any(|model| model.name == **name)) {
            return Err(format!("base `{name}`: no `[[model]]` is called `{unknown}`"));
        }
        self.path = path;
        Ok(())
    }
}

/// Reads `sha256:` and 64 digits.
pub fn digest(text: &str) -> Option<Digest> {
    text.strip_prefix("sha256:")?.parse().ok()
}

/// Refuses bases that could be mistaken for one another, or that leave the project.
pub(super) fn check(bases: &mut [BaseConfig], models: &[ModelConfig]) -> Result<(), String> {
    if bases.len() > DECLARED_MAX {
        return Err(format!("more than {DECLARED_MAX} bases"));
    }
    let mut names = BTreeSet::new();
    for base in bases {
        if base.name.trim().is_empty() || base.name.len() > NAME_BYTES_MAX {
            return Err(format!("a base needs a name of 1 to {NAME_BYTES_MAX} bytes"));
        }
        if !names.insert(base.name.clone()) {
            return Err(format!("two bases are called `{}`", base.name));
        }
        base.check(models)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn error(lines: &str) -> String {
        let text = format!(
            "[[model]]\nname = \"m\"\npath = \"m\"\n[[base]]\nname = \"b\"\npath = \"base\"\nsource = \"hf://o/n\"\n{lines}\n"
        );
        Config::parse(&text).err().unwrap_or_default()
    }

    #[test]
    fn a_base_says_what_can_be_checked_and_keeps_it_apart() {
        let digest = format!("digest = \"sha256:{}\"", "a".repeat(64));
        for good in [
            "",
            &digest,
            "checksums = \"base.sums\"",
            "signature = \"base/model.sig\"\nkey = \"k.pem\"",
            "models = [\"m\"]",
        ] {
            assert_eq!(error(good), "", "{good}");
        }
        for (bad, mention) in [
            ("digest = \"abc\"", "sha256:"),
            ("files = { a = \"md5:0\" }", "sha256:"),
            ("checksums = \"./base/sums\"", "beside the files"),
            ("checksums = \"../sums\"", "below the project"),
            ("signature = \"s\"", "needs a `key`"),
            ("key = \"k.pem\"", "needs a `key`"),
            ("signature = \"s\"\nroots = \"r.pem\"", "needs a `key`"),
            ("models = [\"other\"]", "`other`"),
        ] {
            assert!(error(bad).contains(mention), "{bad}: {}", error(bad));
        }
    }
}
