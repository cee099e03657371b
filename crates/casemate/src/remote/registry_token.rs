//! Tokens of an image registry: asked for when it says so, renewed when they expire.
//!
//! Source: the distribution project's token authentication specification; RFC 6750 and RFC 7617 for the two schemes. The
//! realm is an address the registry names, so it is held to the rules of a redirect: https, and not into this network.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use casemate_core::Secret;
use serde::Deserialize;

use super::authorization::Authorization;
use super::client::{Client, Response};
use super::error::Error;
use super::url::{Url, escape};

/// Most bytes of a token answer, and of Docker's configuration.
const BYTES_MAX: u64 = 1 << 20;

/// What a registry asks for, and what it has been answered.
#[derive(Debug)]
pub struct RegistryToken {
    registry: Url,
    password: Option<Secret<String>>,
    value: Mutex<Option<Secret<String>>>,
}

/// What an answer 401 asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl RegistryToken {
    /// Nothing yet, for the registry at `registry`, called `name` in Docker's configuration.
    pub fn new(registry: Url, name: &str) -> Self {
        Self { registry, password: docker_password(name), value: Mutex::default() }
    }

    /// The value of `Authorization`, if one is known.
    pub fn value(&self) -> Option<Secret<String>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a password for this registry is known.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Answers the challenge in `response`, a 401.
    ///
    /// # Errors
    /// When it asks for what cannot be given.
    pub fn answer(&self, client: &Client, response: &Response) -> Result<(), Error> {
        let fields = response.headers.get_all("www-authenticate");
        let challenge = fields.iter().filter_map(|field| field.to_str().ok()).find_map(parse_challenge);
        let basic = self.password.as_ref().map(|password| Secret::new(format!("Basic {}", password.expose())));
        let value = match challenge {
            Some(Challenge::Basic) => basic.ok_or_else(|| Error::status(&self.registry, 401))?,
            Some(Challenge::Bearer { realm, service, scope }) => {
                self.bearer(client, &realm, &[("service", service), ("scope", scope)], basic)?
            }
            None => return Err(Error::status(&self.registry, 401)),
        };
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        Ok(())
    }

    fn bearer(
        &self,
        client: &Client,
        realm: &str,
        parameters: &[(&str, Option<String>)],
        basic: Option<Secret<String>>,
    ) -> Result<Secret<String>, Error> {
        let listing = |what: String| Error::Listing { url: self.registry.shown(), what };
        let mut url = Url::parse(realm).map_err(|error| listing(format!("its token service {error}")))?;
        let pairs = parameters
            .iter()
            .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={}", escape(value, |_| false))));
        url.query = Some(url.query.iter().cloned().chain(pairs).collect::<Vec<_>>().join("&"));
        let authorization = match basic {
            Some(basic) => Authorization::Basic(basic),
            None => Authorization::None,
        };
        let response = client.get_from(&self.registry, &url, &[], &authorization)?;
        if response.status != 200 {
            return Err(Error::status(&url, response.status));
        }
        let body = response.body(client, BYTES_MAX)?;
        let token: Token =
            serde_json::from_slice(&body).map_err(|_| listing("its token service gave no token".into()))?;
        let token = token.token.or(token.access_token).filter(|token| !token.is_empty());
        // A token with a line break in it would be a header of its own.
        let token = token.filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
        token
            .map(|token| Secret::new(format!("Bearer {token}")))
            .ok_or_else(|| listing("its token service gave no token".into()))
    }
}

/// `Bearer realm="…",service="…",scope="…"` or `Basic …`.
pub(super) fn parse_challenge(field: &str) -> Option<Challenge> {
    let (scheme, rest) = field.trim().split_once(' ').unwrap_or((field.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    let mut rest = rest.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value.to_owned()),
            "service" => service = Some(value.to_owned()),
            "scope" => scope = Some(value.to_owned()),
            _ => {}
        }
        rest = after.trim_start_matches([',', ' ']);
    }
    Some(Challenge::Bearer { realm: realm?, service, scope })
}

/// User and password for `registry`, as they stand in Docker's configuration; credential helpers are not run.
fn docker_password(registry: &str) -> Option<Secret<String>> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let directory = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(home)?;
    let path = directory.join("config.json");
    if fs::metadata(&path).ok()?.len() > BYTES_MAX {
        return None;
    }
    let config: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let auths = config.get("auths")?;
    let names = match registry {
        "docker.io" => vec!["https://index.docker.io/v1/".into(), registry.to_owned()],
        _ => vec![registry.to_owned(), format!("https://{registry}")],
    };
    let encoded = names.iter().find_map(|name| auths.get(name)?.get("auth")?.as_str())?;
    let decoded = STANDARD.decode(encoded).ok().filter(|decoded| decoded.contains(&b':'))?;
    Some(Secret::new(STANDARD.encode(decoded)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_in_both_schemes() {
        let bearer = parse_challenge(
            r#"Bearer realm="https://auth.example.org/token?a=b",service="reg",scope="repository:x/y:pull,push""#,
        );
        let expected = Challenge::Bearer {
            realm: "https://auth.example.org/token?a=b".into(),
            service: Some("reg".into()),
            scope: Some("repository:x/y:pull,push".into()),
        };
        assert_eq!(bearer, Some(expected));
        assert_eq!(parse_challenge("basic realm=\"x\""), Some(Challenge::Basic));
        for none in ["", "Negotiate", "Bearer", "Bearer service=\"x\"", "Bearer realm=\"open"] {
            assert_eq!(parse_challenge(none), None, "{none}");
        }
    }
}
