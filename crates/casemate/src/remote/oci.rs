//! Artifacts of an image registry: `oci://registry/repository[:tag|@digest]`.
//!
//! Every manifest is checked against its digest before it is believed; layers and configuration become files of the scan,
//! read by ranges, whatever their media type says. A title is shown and never becomes a path. Sources: OCI Distribution
//! Specification 1.1 (pull), OCI Image Specification 1.1 (manifest, index, annotations). Addresses in `urls` of a
//! descriptor are not followed: what another server holds is not this registry's artifact.

use std::collections::BTreeSet;
use std::sync::Arc;

use casemate_core::Digest;
use casemate_provenance::sha256;
use serde::Deserialize;

use super::authorization::Authorization;
use super::client::Client;
use super::error::Error;
use super::registry_token::RegistryToken;
use super::source::Remote;
use super::url::Url;
use super::{FILES_MAX, Item, Listing, shown};

/// Most bytes of a manifest or index, as registries accept them.
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// Manifests followed from one reference.
pub const MANIFESTS_MAX: usize = 256;

/// Media types asked for: manifests and indexes, OCI's and Docker's.
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// A reference to an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciAddress {
    /// Host and port, as written.
    pub registry: String,
    /// Name of the repository.
    pub repository: String,
    /// Tag or digest.
    pub reference: String,
}

/// A manifest or an index: whichever lists are there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u64,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(default)]
    blobs: Vec<Descriptor>,
}

/// Content named by digest and size.
#[derive(Clone, Debug, Deserialize)]
pub struct Descriptor {
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

/// One blob to scan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob {
    /// Its digest.
    pub sha256: Digest,
    /// Its size.
    pub size_bytes: u64,
    /// What people call it.
    pub title: Option<String>,
}

/// Reads what follows `oci://`.
pub fn parse(rest: &str) -> Option<OciAddress> {
    let (registry, rest) = rest.split_once('/')?;
    let (repository, reference) = match rest.split_once('@') {
        Some((name, digest)) => (name.split_once(':').map_or(name, |(name, _)| name), digest),
        None => rest.split_once(':').unwrap_or((rest, "latest")),
    };
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte);
    let is_repository = !repository.is_empty()
        && repository.bytes().all(is_word)
        && repository.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    let is_reference = match reference.contains(':') {
        true => digest(reference).is_some(),
        false => {
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            (1..=128).contains(&reference.len()) && reference.bytes().all(is_letter) && !reference.starts_with('.')
        }
    };
    (!registry.is_empty() && is_repository && is_reference).then(|| OciAddress {
        registry: registry.into(),
        repository: repository.into(),
        reference: reference.into(),
    })
}

/// The blobs of the artifact at `address`.
///
/// # Errors
/// When the registry does not give it, or gives something that is not what its digest says.
pub fn list(client: &Client, address: &OciAddress) -> Result<Listing, Error> {
    let registry = registry(address)?;
    let repository = match address.registry.as_str() {
        "docker.io" if !address.repository.contains('/') => format!("library/{}", address.repository),
        _ => address.repository.clone(),
    };
    let token = Arc::new(RegistryToken::new(registry.clone(), &address.registry));
    let base = registry.at(&format!("/v2/{repository}"), None);
    let mut walk = Walk::default();
    let mut waiting = vec![address.reference.clone()];
    let mut first = None;
    while let Some(reference) = waiting.pop() {
        let url = base.at(&format!("{}/manifests/{reference}", base.path), None);
        let bytes = manifest(client, &url, &token)?;
        let found = sha256(&bytes);
        if digest(&reference).is_some_and(|named| named != found) {
            let what = format!("the manifest has the SHA-256 {found}, not the one it is named by");
            return Err(Error::Digest { url: url.shown(), what });
        }
        first.get_or_insert(found);
        let read = walk.manifest(&bytes).map_err(|what| Error::Listing { url: url.shown(), what })?;
        waiting.extend(read.into_iter().map(|digest| format!("sha256:{digest}")));
    }
    let mut listing = Listing::default();
    let name = format!("oci://{}/{}", address.registry, address.repository);
    if let Some(first) = first {
        listing.remarks.push(format!("{name}:{} is sha256:{first}", address.reference).replace(":sha256:", "@sha256:"));
    }
    for blob in walk.blobs {
        let authorization = Authorization::Registry(Arc::clone(&token));
        let url = base.at(&format!("{}/blobs/sha256:{}", base.path, blob.sha256), None);
        listing.items.push(Item {
            shown: format!("{name}/{}", blob.name()),
            remote: Remote {
                url,
                authorization,
                size_bytes: Some(blob.size_bytes),
                sha256: Some(blob.sha256),
                is_immutable: true,
            },
        });
    }
    Ok(listing)
}

/// Where the registry answers: by https, on this machine by http.
fn registry(address: &OciAddress) -> Result<Url, Error> {
    let host = match address.registry.as_str() {
        "docker.io" => "registry-1.docker.io",
        host => host,
    };
    let wrong = |error| Error::Setting { name: "the registry", value: shown(host), what: error };
    let mut url = Url::parse(&format!("https://{host}/")).map_err(wrong)?;
    url.is_secure = !url.is_loopback();
    Ok(url)
}

/// The bytes of a manifest, after a token was asked for where one is needed.
fn manifest(client: &Client, url: &Url, token: &Arc<RegistryToken>) -> Result<Vec<u8>, Error> {
    let authorization = Authorization::Registry(Arc::clone(token));
    let get = || client.get(url, &[("accept", ACCEPT)], &authorization);
    let mut response = get()?;
    if response.status == 401 {
        token.answer(client, &response)?;
        response = get()?;
    }
    if response.status != 200 {
        let hint = match (response.status, token.has_password()) {
            (401 | 403, false) => {
                "check the name; for a private repository put a login for this registry into Docker's config.json (credential helpers are not run)"
            }
            (401 | 403, true) => "check the name, and that the login in Docker's config.json may pull it",
            (404, _) => "check the repository and the tag or digest",
            _ => "",
        };
        return Err(Error::Status { url: url.shown(), status: response.status, hint: hint.into() });
    }
    response.body(client, MANIFEST_BYTES_MAX)
}

/// What was met on the way from a reference to its blobs.
#[derive(Debug, Default)]
pub struct Walk {
    seen: BTreeSet<Digest>,
    /// Blobs, each once, in order of appearance.
    pub blobs: Vec<Blob>,
    known: BTreeSet<Digest>,
}

impl Walk {
    /// Reads a manifest or index; returns the manifests it names that were not met before.
    ///
    /// # Errors
    /// When it is neither, or names content in a way that cannot be checked.
    pub fn manifest(&mut self, bytes: &[u8]) -> Result<Vec<Digest>, String> {
        let manifest: Manifest =
            serde_json::from_slice(bytes).map_err(|error| format!("is no manifest of an artifact: {error}"))?;
        if manifest.schema_version != 2 {
            return Err(format!(
                "is a manifest of version {}, which names no digests of its content",
                manifest.schema_version
            ));
        }
        let mut next = Vec::new();
        for descriptor in manifest.manifests.iter().rev() {
            let digest = digest(&descriptor.digest).ok_or_else(|| unknown_digest(descriptor))?;
            if self.seen.insert(digest) {
                next.push(digest);
            }
        }
        if self.seen.len() > MANIFESTS_MAX {
            return Err(format!("leads to more than {MANIFESTS_MAX} manifests"));
        }
        for descriptor in manifest.config.iter().chain(&manifest.layers).chain(&manifest.blobs) {
            let sha256 = digest(&descriptor.digest).ok_or_else(|| unknown_digest(descriptor))?;
            if !self.known.insert(sha256) {
                continue;
            }
            if self.blobs.len() >= FILES_MAX {
                return Err(format!("names more than {FILES_MAX} blobs"));
            }
            let title = descriptor.annotations.as_ref().and_then(|all| {
                all.get("org.opencontainers.image.title").or_else(|| all.get("org.cncf.model.filepath")).cloned()
            });
            self.blobs.push(Blob { sha256, size_bytes: descriptor.size, title });
        }
        Ok(next)
    }
}

impl Blob {
    /// Its title, or its digest.
    pub fn name(&self) -> String {
        match self.title.as_deref().map(str::trim).filter(|title| !title.is_empty()) {
            Some(title) => title.chars().take(512).collect(),
            None => format!("sha256:{}", self.sha256),
        }
    }
}

/// The digest in `sha256:…`.
pub fn digest(text: &str) -> Option<Digest> {
    let hex = text.strip_prefix("sha256:")?;
    let is_canonical = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_canonical.then(|| hex.parse().ok()).flatten()
}

fn unknown_digest(descriptor: &Descriptor) -> String {
    let shown: String = descriptor.digest.chars().take(100).collect();
    format!("names content by {shown:?}, which is no SHA-256 digest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read() {
        let made = |registry: &str, repository: &str, reference: &str| {
            Some(OciAddress { registry: registry.into(), repository: repository.into(), reference: reference.into() })
        };
        let hex = "a".repeat(64);
        assert_eq!(parse("ghcr.io/org/model"), made("ghcr.io", "org/model", "latest"));
        assert_eq!(parse("localhost:5000/m:v1.0"), made("localhost:5000", "m", "v1.0"));
        assert_eq!(parse(&format!("r/m:v1@sha256:{hex}")), made("r", "m", &format!("sha256:{hex}")));
        for none in ["", "host", "/m", "host/", "host/M", "host/a/../b", "host/m:", "host/m@sha256:12", "host/m@md5:12"]
        {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn manifests_name_blobs_once_and_only_by_digests_that_can_be_checked() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"sha256:{b}","size":2}},"layers":[
                {{"digest":"sha256:{a}","size":9,"urls":["https://x/"],"annotations":{{"org.opencontainers.image.title":"../m.pt"}}}},
                {{"digest":"sha256:{a}","size":9}}]}}"#
        );
        let mut walk = Walk::default();
        assert_eq!(walk.manifest(text.as_bytes()), Ok(Vec::new()));
        let names: Vec<_> = walk.blobs.iter().map(Blob::name).collect();
        assert_eq!(names, [format!("sha256:{b}"), "../m.pt".into()]);
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"digest":"sha256:{a}","size":1}},{{"digest":"sha256:{b}","size":1}}]}}"#
        );
        assert_eq!(walk.manifest(index.as_bytes()).unwrap().len(), 2);
        assert_eq!(walk.manifest(index.as_bytes()).unwrap().len(), 0, "a loop ends");
        for bad in [text.replace("sha256", "sha512"), text.replace("Version\":2", "Version\":1"), "[]".into()] {
            assert!(Walk::default().manifest(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
