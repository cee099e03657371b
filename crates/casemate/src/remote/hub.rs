//! Repositories of a model hub: `hf://ORG/REPO[@REVISION]`, or their pages under `https://huggingface.co`.
//!
//! The listing names every file of one commit with its size and, for large ones, its SHA-256; the files are then read from
//! that commit, so a push in between changes nothing. `HF_ENDPOINT` names another hub, `HF_TOKEN` who asks. Source: Hub API
//! documentation, `/api/models/{id}/revision/{revision}` and `/{id}/resolve/{revision}/{path}`.

use std::env;

use casemate_core::{Digest, Secret};
use serde::Deserialize;

use super::authorization::Authorization;
use super::client::Client;
use super::error::Error;
use super::source::Remote;
use super::url::{Url, escape, escape_path, unescape};
use super::{FILES_MAX, Item, Listing, shown};

/// Most bytes of a listing: 100,000 files with long names.
const LISTING_BYTES_MAX: u64 = 64 << 20;

/// A repository, a revision, and a file if only that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubAddress {
    /// `ORG/REPO`, or `REPO` for a few old ones.
    pub repository: String,
    /// Branch, tag or commit.
    pub revision: String,
    /// Only this file, or the files below it.
    pub file: Option<String>,
}

#[derive(Deserialize)]
struct Repository {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(alias = "oid")]
    sha256: Option<Digest>,
}

/// Reads what follows `hf://`: `ORG/REPO[@REVISION][/FILE]`.
pub fn parse(rest: &str) -> Option<HubAddress> {
    let mut parts = rest.trim_end_matches('/').splitn(3, '/');
    let (organisation, repository, file) = (parts.next()?, parts.next()?, parts.next());
    let (repository, revision) = repository.split_once('@').unwrap_or((repository, "main"));
    address(organisation, repository, revision, file)
}

/// Reads the address of a page or file of the hub; nothing when `url` is elsewhere or something else.
pub fn parse_page(url: &Url) -> Option<HubAddress> {
    if url.origin() != endpoint().ok()?.origin() {
        return None;
    }
    // Split before anything is unescaped: `refs%2Fpr%2F1` is one revision.
    let parts: Vec<String> = url.path.trim_matches('/').split('/').map(unescape).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["api" | "datasets" | "spaces" | "docs" | "models" | "blog" | "collections" | "papers", ..] => None,
        [organisation, repository] => address(organisation, repository, "main", None),
        [organisation, repository, "tree", revision] => address(organisation, repository, revision, None),
        [organisation, repository, "tree" | "blob" | "resolve", revision, file @ ..] if !file.is_empty() => {
            address(organisation, repository, revision, Some(&file.join("/")))
        }
        _ => None,
    }
}

fn address(organisation: &str, repository: &str, revision: &str, file: Option<&str>) -> Option<HubAddress> {
    let is_name = |name: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        !name.is_empty() && name.bytes().all(is_letter) && !name.starts_with('.')
    };
    let is_address = is_name(organisation) && is_name(repository) && !revision.is_empty();
    is_address.then(|| HubAddress {
        repository: format!("{organisation}/{repository}"),
        revision: revision.into(),
        file: file.map(str::to_owned).filter(|file| !file.is_empty()),
    })
}

/// The files of the repository at `address`.
///
/// # Errors
/// When it cannot be listed.
pub fn list(client: &Client, address: &HubAddress) -> Result<Listing, Error> {
    let hub = endpoint()?;
    let token = env::var("HF_TOKEN").ok().map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    let authorization = token.map_or(Authorization::None, |token| Authorization::Bearer(Secret::new(token)));
    let HubAddress { repository, revision, file } = address;
    let path = format!("/api/models/{repository}/revision/{}", escape(revision, |_| false));
    let url = hub.at(&format!("{}{path}", hub.path.trim_end_matches('/')), Some("blobs=true".into()));
    let response = client.get(&url, &[], &authorization)?;
    if response.status != 200 {
        let hint = match (response.status, &authorization) {
            (401 | 403 | 404, Authorization::None) => {
                "the repository or revision does not exist, or is private or gated; check the name, or set HF_TOKEN to a token that may read it"
            }
            (401 | 403 | 404, _) => {
                "check the name and revision, and that the token in HF_TOKEN may read it and its conditions were accepted"
            }
            _ => "",
        };
        return Err(Error::Status { url: url.shown(), status: response.status, hint: hint.into() });
    }
    let unreadable = |what: &str| Error::Listing { url: url.shown(), what: what.into() };
    let body = response.body(client, LISTING_BYTES_MAX)?;
    let found: Repository =
        serde_json::from_slice(&body).map_err(|_| unreadable("its answer is no listing of a repository"))?;
    let is_commit = found.sha.len() >= 40 && found.sha.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_commit {
        return Err(unreadable("its listing names no commit"));
    }
    let mut listing = Listing::default();
    listing.remarks.push(format!("hf://{repository} was read at commit {}", found.sha));
    for sibling in found.siblings {
        let name = sibling.rfilename;
        let is_wanted = file.as_ref().is_none_or(|file| {
            name == *file || name.strip_prefix(file.as_str()).is_some_and(|rest| rest.starts_with('/'))
        });
        if !is_wanted {
            continue;
        }
        let shown = format!("hf://{repository}/{name}");
        if listing.items.len() >= FILES_MAX {
            listing.skip(shown, format!("more than {FILES_MAX} files"));
            break;
        }
        let path = format!("/{repository}/resolve/{}/{}", found.sha, escape_path(&name));
        listing.items.push(Item {
            shown,
            remote: Remote {
                url: hub.at(&format!("{}{path}", hub.path.trim_end_matches('/')), None),
                authorization: authorization.clone(),
                size_bytes: sibling.size,
                sha256: sibling.lfs.and_then(|lfs| lfs.sha256),
                is_immutable: false,
            },
        });
    }
    Ok(listing)
}

fn endpoint() -> Result<Url, Error> {
    let set = env::var("HF_ENDPOINT").ok().filter(|value| !value.is_empty());
    let text = set.unwrap_or_else(|| "https://huggingface.co".into());
    Url::parse(&text).map_err(|error| Error::Setting { name: "HF_ENDPOINT", value: shown(&text), what: error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(repository: &str, revision: &str, file: Option<&str>) -> Option<HubAddress> {
        let file = file.map(str::to_owned);
        Some(HubAddress { repository: repository.into(), revision: revision.into(), file })
    }

    #[test]
    fn repositories_are_read_from_both_spellings() {
        assert_eq!(parse("org/repo"), made("org/repo", "main", None));
        assert_eq!(parse("org/repo@v1.0/sub/model.pt"), made("org/repo", "v1.0", Some("sub/model.pt")));
        for none in ["repo", "org/", "../repo", "org/re po", "org/repo@", "@/x"] {
            assert_eq!(parse(none), None, "{none}");
        }
        let page = |path: &str| parse_page(&Url::parse(&format!("https://huggingface.co{path}")).unwrap());
        assert_eq!(page("/org/repo"), made("org/repo", "main", None));
        assert_eq!(page("/org/repo/tree/refs%2Fpr%2F1"), made("org/repo", "refs/pr/1", None));
        assert_eq!(page("/org/repo/resolve/abc/a%20b.pt"), made("org/repo", "abc", Some("a b.pt")));
        assert_eq!(page("/datasets/org/repo"), None);
        assert_eq!(parse_page(&Url::parse("https://example.org/org/repo").unwrap()), None);
    }
}
