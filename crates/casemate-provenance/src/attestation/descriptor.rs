//! What a statement points at: in-toto's ResourceDescriptor.
//!
//! Source: github.com/in-toto/attestation, `spec/v1/resource_descriptor.md` and `digest_set.md`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use casemate_core::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Error;

/// A thing by name, place and digest. Members that are absent are empty here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceDescriptor {
    /// Its name where it is used.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it is, or which one it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uri: String,
    /// Digests by algorithm: `sha256`, `gitCommit`, …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: BTreeMap<String, String>,
    /// Its contents, base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content: String,
    /// Where to fetch it, if that is not the URI.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub download_location: String,
    /// Its media type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// What else is to be said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, Value>,
}

/// Lengths of hexadecimal digests by algorithm, as far as they are known here.
const DIGEST_DIGITS: [(&str, &[usize]); 3] = [("sha256", &[64]), ("sha512", &[128]), ("gitCommit", &[40, 64])];

impl ResourceDescriptor {
    /// The thing called `name` with this SHA-256.
    pub fn of(name: &str, sha256: Digest) -> Self {
        let digest = [("sha256".to_owned(), sha256.to_string())].into();
        Self { name: name.into(), digest, ..Self::default() }
    }

    /// The files called `name` with this manifest, [`crate::Manifest::digest`].
    pub fn of_manifest(name: &str, manifest: Digest) -> Self {
        Self::of(name, manifest).with_media_type(super::MANIFEST_TYPE)
    }

    /// The git commit `commit` under the name `name`.
    pub fn of_commit(name: &str, commit: &str) -> Self {
        let digest = [("gitCommit".to_owned(), commit.to_owned())].into();
        Self { name: name.into(), digest, ..Self::default() }
    }

    /// The same with its contents inside.
    #[must_use]
    pub fn with_content(mut self, content: &[u8], media_type: &str) -> Self {
        self.content = STANDARD.encode(content);
        self.with_media_type(media_type)
    }

    /// The same with a media type.
    #[must_use]
    pub fn with_media_type(mut self, media_type: &str) -> Self {
        self.media_type = media_type.into();
        self
    }

    /// The same with one more annotation.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }

    /// Its SHA-256, if it has one.
    pub fn sha256(&self) -> Option<Digest> {
        self.digest.get("sha256")?.parse().ok()
    }

    /// Its git commit, if it has one.
    pub fn git_commit(&self) -> Option<&str> {
        self.digest.get("gitCommit").map(String::as_str)
    }

    /// Its contents, where they are inside, and hash to its SHA-256 if it has one.
    pub fn content(&self) -> Option<Vec<u8>> {
        let bytes = STANDARD.decode(&self.content).ok().filter(|_| !self.content.is_empty())?;
        self.sha256().is_none_or(|digest| crate::hash::sha256(&bytes) == digest).then_some(bytes)
    }

    /// Refuses a thing that nothing identifies, and digests that are none.
    pub(super) fn check(&self) -> Result<(), Error> {
        let is_named = !self.uri.is_empty() || !self.digest.is_empty() || !self.content.is_empty();
        if !is_named {
            return Err(Error::Malformed("a thing it points at has neither digest nor URI nor contents".into()));
        }
        let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        for (algorithm, text) in &self.digest {
            let known = DIGEST_DIGITS.iter().find(|(name, _)| name == algorithm);
            if known.is_some_and(|(_, digits)| !digits.contains(&text.len()) || !is_hex(text)) || text.is_empty() {
                let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
                return Err(Error::Malformed(format!("`{shown}` is no digest of the kind it says")));
            }
        }
        Ok(())
    }

    /// Refuses a subject without a digest: it would be about whatever has its name.
    pub(super) fn check_subject(&self) -> Result<(), Error> {
        self.check()?;
        match self.digest.is_empty() {
            true => Err(Error::Malformed("a subject has no digest".into())),
            false => Ok(()),
        }
    }
}
