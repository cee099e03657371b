//! HashiCorp Vault and OpenBao: keys of the transit engine, `hashivault://NAME`.
//!
//! Source: Vault HTTP API, "Transit secrets engine"; variables as Vault's own command line names them, and
//! `TRANSIT_SECRET_ENGINE_PATH` as cosign does. Signed is a hash (`prehashed`), by the version whose public key was read, so
//! that a key turned over in between does not sign under another name. Data keys are bound to their context as associated
//! data. To encrypt with a name that no key has makes a key in Vault, so the name is looked up before.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use casemate_core::Secret;
use casemate_provenance::keys::signing::{KeyType, VerifyingKey};
use casemate_provenance::seal::wrap::WrapKind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Environment, KeyService, SigningPart, TIMEOUT, Trouble, ask, body, data_key, malformed, read, said};
use crate::remote::client::{Client, ClientSettings, Request};
use crate::remote::url::Url;

/// A key of a transit engine.
pub struct Vault {
    client: Client,
    /// Where Vault is; a path in front of the interface's own is kept.
    base: Url,
    mount: String,
    name: String,
    /// The version asked for; the latest where there is none.
    version: Option<u32>,
    token: Secret<String>,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct Key {
    #[serde(rename = "type")]
    key_type: String,
    latest_version: u32,
    /// By version: an object with a public key, or a time for keys that have none.
    keys: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Signature {
    signature: String,
}

#[derive(Deserialize)]
struct Ciphertext {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Plaintext {
    plaintext: Secretive,
}

/// Text that is a secret from the moment it is read.
#[derive(Deserialize)]
#[serde(from = "String")]
struct Secretive(Secret<String>);

impl From<String> for Secretive {
    fn from(text: String) -> Self {
        Self(Secret::new(text))
    }
}

impl Vault {
    /// The key that follows `hashivault://`, where the environment says Vault is.
    pub fn new(rest: &str, set: Environment<'_>) -> Result<Self, Trouble> {
        let setting = |what: String| Trouble::Setting(what);
        let (name, version) = match rest.split_once("?version=") {
            Some((name, version)) => {
                let number = version.parse().ok().filter(|number: &u32| *number > 0);
                let number = number.ok_or_else(|| setting("the version of a key is a number from 1".into()))?;
                (name, Some(number))
            }
            None => (rest, None),
        };
        if !is_name(name) {
            return Err(setting(
                "a key of Vault is named hashivault://NAME, of letters, digits, `-`, `_` and `.`".into(),
            ));
        }
        let address = set("VAULT_ADDR");
        let address = address.ok_or_else(|| setting("set VAULT_ADDR to the address of Vault".into()))?;
        let base = Url::parse(&address)
            .map_err(|error| setting(format!("VAULT_ADDR: `{}` {error}", crate::remote::shown(&address))))?;
        let token =
            set("VAULT_TOKEN").ok_or_else(|| setting("set VAULT_TOKEN to a token that may use the key".into()))?;
        let namespace = set("VAULT_NAMESPACE");
        let is_field = |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_field(&token) || !namespace.iter().all(is_field) {
            return Err(setting(
                "VAULT_TOKEN or VAULT_NAMESPACE holds a space or a sign that is none of either".into(),
            ));
        }
        let mount = set("TRANSIT_SECRET_ENGINE_PATH").unwrap_or_else(|| "transit".into());
        let mount = mount.trim_matches('/').to_owned();
        if !mount.split('/').all(is_name) {
            return Err(setting(format!("TRANSIT_SECRET_ENGINE_PATH: `{}` is no path", mount.escape_debug())));
        }
        let settings = ClientSettings { allow_http: false, timeout: timeout(set)? };
        let client = Client::new(settings).with_authorities(set("VAULT_CACERT").map(PathBuf::from));
        Ok(Self { client, base, mount, name: name.into(), version, token: Secret::new(token), namespace })
    }

    /// Status and answer of `<mount>/<what>/<name>`: to a POST of `message`, or to a GET.
    fn exchange(&self, what: &str, message: Option<&Value>) -> Result<(u16, Secret<Vec<u8>>), Trouble> {
        let place = self.place(what);
        let url = self.base.at(&format!("{}/v1/{place}", self.base.path.trim_end_matches('/')), None);
        let mut headers =
            vec![("x-vault-token", self.token.clone()), ("x-vault-request", Secret::new("true".to_owned()))];
        headers.extend(self.namespace.iter().map(|namespace| ("x-vault-namespace", Secret::new(namespace.clone()))));
        let sent = message.map(|message| Secret::new(message.to_string()));
        if sent.is_some() {
            headers.push(("content-type", Secret::new("application/json".into())));
        }
        let request = Request { url: &url, headers, body: sent.as_ref().map(|text| text.expose().as_bytes()) };
        let response = ask(&self.client, &request)?;
        Ok((response.status, body(&self.client, response)?))
    }

    /// The answer of Vault, when it says yes.
    fn call(&self, what: &str, message: Option<&Value>) -> Result<Secret<Vec<u8>>, Trouble> {
        let capability = if message.is_some() { "update" } else { "read" };
        match self.exchange(what, message)? {
            (200, answer) => Ok(answer),
            (status, answer) => Err(self.refusal(status, &self.place(what), capability, &answer)),
        }
    }

    fn place(&self, what: &str) -> String {
        format!("{}/{what}/{}", self.mount, self.name)
    }

    fn refusal(&self, status: u16, place: &str, capability: &str, answer: &Secret<Vec<u8>>) -> Trouble {
        let errors =
            serde_json::from_slice(answer.expose()).map_or_else(|_| Vec::new(), |errors: Errors| errors.errors);
        let errors = said(&errors.join("; "), &self.token);
        let because = if errors.is_empty() { String::new() } else { format!(" ({errors})") };
        match status {
            403 => Trouble::Refused(format!(
                "Vault answered 403{because}: VAULT_TOKEN is not valid, or no policy of it gives `{capability}` on `{place}`"
            )),
            404 => Trouble::Refused(format!(
                "Vault answered 404{because}: there is no key `{}` in the transit engine at `{}`; check the name, \
                 TRANSIT_SECRET_ENGINE_PATH and VAULT_NAMESPACE",
                self.name, self.mount
            )),
            400 => Trouble::Refused(format!("Vault refused `{place}`{because}")),
            503 if errors.contains("sealed") => {
                Trouble::Unreachable(format!("Vault is sealed{because}; unseal it and try again"))
            }
            503 => Trouble::Unreachable(format!("Vault is sealed or being maintained{because}; try again later")),
            429 => Trouble::Unreachable(format!("Vault has too many requests{because}; try again later")),
            status => Trouble::Unreachable(format!("Vault answered {status} to `{place}`{because}; try again later")),
        }
    }

    fn key(&self) -> Result<Key, Trouble> {
        read(&self.call("keys", None)?).map(|answer: Answer<Key>| answer.data)
    }

    /// Fails where the name is no key that binds what it encrypts to a context, as far as the token may know. One that may not
    /// look goes on: Vault itself makes a key for it only where a policy gives `create` as well.
    fn require_key_that_encrypts(&self) -> Result<(), Trouble> {
        let answer = match self.exchange("keys", None)? {
            (200, answer) => answer,
            (403, _) => return Ok(()),
            (status, answer) => return Err(self.refusal(status, &self.place("keys"), "read", &answer)),
        };
        let Answer { data: Key { key_type, .. } } = read(&answer)?;
        match ["gcm96", "chacha20-poly1305"].iter().any(|ending| key_type.ends_with(ending)) {
            true => Ok(()),
            false => Err(Trouble::Setting(format!(
                "a key of type `{}` wraps no data key; make one with `vault write -f {}/keys/NAME type=aes256-gcm96`",
                said(&key_type, &self.token),
                self.mount
            ))),
        }
    }

    fn require_no_version(&self) -> Result<(), Trouble> {
        match self.version {
            None => Ok(()),
            Some(_) => {
                Err(Trouble::Setting("a key that wraps names no version: Vault knows it from what it wrapped".into()))
            }
        }
    }
}

impl KeyService for Vault {
    fn kind(&self) -> WrapKind {
        WrapKind::VaultTransit
    }

    fn signing_part(&self) -> Result<SigningPart, Trouble> {
        let key = self.key()?;
        let key_type = match key.key_type.as_str() {
            "ecdsa-p256" => KeyType::EcdsaP256,
            "ecdsa-p384" => KeyType::EcdsaP384,
            "ecdsa-p521" => KeyType::EcdsaP521,
            other => {
                return Err(Trouble::Setting(format!(
                    "a key of type `{}` signs no models; ecdsa-p256, ecdsa-p384 and ecdsa-p521 do",
                    said(other, &self.token)
                )));
            }
        };
        let version = self.version.unwrap_or(key.latest_version);
        let Some(entry) = key.keys.get(&version.to_string()) else {
            let latest = key.latest_version;
            return Err(Trouble::Refused(format!("the key has no version {version}; its latest is {latest}")));
        };
        let public = entry.get("public_key").and_then(Value::as_str);
        let public = public.and_then(|pem| VerifyingKey::from_pem(pem.as_bytes()));
        match public.filter(|public| public.key_type == key_type) {
            Some(public) => Ok(SigningPart { public, version }),
            None => Err(malformed("a public key that is not of the type it says")),
        }
    }

    fn sign(&self, part: &SigningPart, hash: &[u8]) -> Result<Vec<u8>, Trouble> {
        let hash_algorithm = match part.public.key_type {
            KeyType::EcdsaP384 => "sha2-384",
            KeyType::EcdsaP521 => "sha2-512",
            _ => "sha2-256",
        };
        let message = json!({
            "input": STANDARD.encode(hash),
            "prehashed": true,
            "hash_algorithm": hash_algorithm,
            "marshaling_algorithm": "asn1",
            "key_version": part.version,
        });
        let answer: Answer<Signature> = read(&self.call("sign", Some(&message))?)?;
        let signature = versioned(&answer.data.signature).filter(|(version, _)| *version == part.version);
        match signature {
            Some((_, signature)) => Ok(signature),
            None => Err(malformed("a signature that is not by the version that was asked")),
        }
    }

    fn encrypt(&self, key: &Secret<[u8; 32]>, context: &[u8]) -> Result<Vec<u8>, Trouble> {
        self.require_no_version()?;
        self.require_key_that_encrypts()?;
        let message = json!({"plaintext": STANDARD.encode(key.expose()), "associated_data": STANDARD.encode(context)});
        let answer: Answer<Ciphertext> = read(&self.call("encrypt", Some(&message))?)?;
        match versioned(&answer.data.ciphertext) {
            Some(_) => Ok(answer.data.ciphertext.into_bytes()),
            None => Err(malformed("no ciphertext of its own form")),
        }
    }

    fn decrypt(&self, blob: &[u8], context: &[u8]) -> Result<Secret<[u8; 32]>, Trouble> {
        self.require_no_version()?;
        let text = std::str::from_utf8(blob).ok().filter(|text| versioned(text).is_some());
        let Some(text) = text else {
            return Err(Trouble::Malformed("the wrapped key is not of the form Vault gives (`vault:v1:…`)".into()));
        };
        let message = json!({"ciphertext": text, "associated_data": STANDARD.encode(context)});
        let answer: Answer<Plaintext> = read(&self.call("decrypt", Some(&message))?)?;
        data_key(STANDARD.decode(answer.data.plaintext.0.expose()).ok())
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({}/{})", self.mount, self.name)
    }
}

/// `vault:v<version>:<base64>`.
fn versioned(text: &str) -> Option<(u32, Vec<u8>)> {
    let (version, encoded) = text.strip_prefix("vault:v")?.split_once(':')?;
    let number: u32 = version.parse().ok().filter(|number: &u32| *number > 0 && number.to_string() == version)?;
    let bytes = STANDARD.decode(encoded).ok().filter(|bytes| !bytes.is_empty())?;
    Some((number, bytes))
}

/// Whether `text` may stand in a path as it is.
fn is_name(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= 256 && !text.starts_with('.') && text.bytes().all(is_inside)
}

/// `VAULT_CLIENT_TIMEOUT` in seconds, with or without an `s`.
fn timeout(set: Environment<'_>) -> Result<Duration, Trouble> {
    let Some(text) = set("VAULT_CLIENT_TIMEOUT") else { return Ok(TIMEOUT) };
    let seconds = text.strip_suffix('s').unwrap_or(&text).parse().ok().filter(|seconds| (1..=3600).contains(seconds));
    let seconds = seconds.map(Duration::from_secs);
    seconds.ok_or_else(|| Trouble::Setting("VAULT_CLIENT_TIMEOUT is a number of seconds from 1 to 3600".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(rest: &str, settings: &[(&str, &str)]) -> Result<Vault, String> {
        let found =
            |name: &str| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Vault::new(rest, &found).map_err(|trouble| trouble.to_string())
    }

    const HERE: [(&str, &str); 2] = [("VAULT_ADDR", "https://vault.example:8200/proxy/"), ("VAULT_TOKEN", "hvs.token")];

    #[test]
    fn an_address_names_a_key_and_perhaps_a_version() {
        let found = vault("release-2026_a.b?version=3", &HERE).unwrap();
        assert_eq!(
            (found.name.as_str(), found.version, found.mount.as_str()),
            ("release-2026_a.b", Some(3), "transit")
        );
        for bad in ["", "a/b", "../keys", ".x", "a b", "a?version=0", "a?version=x", "a?other=1", "é"] {
            assert!(vault(bad, &HERE).is_err(), "{bad}");
        }
        let mounted = [&HERE[..], &[("TRANSIT_SECRET_ENGINE_PATH", "/team/transit/")]].concat();
        assert_eq!(vault("k", &mounted).unwrap().mount, "team/transit");
        let outside = [&HERE[..], &[("TRANSIT_SECRET_ENGINE_PATH", "a/../sys")]].concat();
        assert!(vault("k", &outside).unwrap_err().contains("TRANSIT_SECRET_ENGINE_PATH"));
    }

    #[test]
    fn what_is_missing_is_named_and_no_token_is_shown() {
        assert!(vault("k", &HERE[..1]).unwrap_err().contains("VAULT_TOKEN"));
        assert!(vault("k", &HERE[1..]).unwrap_err().contains("VAULT_ADDR"));
        let broken = vault("k", &[HERE[0], ("VAULT_TOKEN", "hvs.tok\nen")]).unwrap_err();
        assert!(broken.contains("VAULT_TOKEN") && !broken.contains("hvs."), "{broken}");
        let named = vault("k", &[("VAULT_ADDR", "https://me:secret@vault/"), HERE[1]]).unwrap_err();
        assert!(named.contains("user name") && !named.contains("secret"), "{named}");
        assert!(!format!("{:?}", vault("k", &HERE).unwrap()).contains("hvs."));
        for (seconds, is_good) in [("5", true), ("5s", true), ("0", false), ("5m", false), ("99999", false)] {
            let timed = [&HERE[..], &[("VAULT_CLIENT_TIMEOUT", seconds)]].concat();
            assert_eq!(vault("k", &timed).is_ok(), is_good, "{seconds}");
        }
    }

    #[test]
    fn versioned_texts_have_one_form() {
        assert_eq!(versioned("vault:v12:AQI="), Some((12, vec![1, 2])));
        for bad in [
            "",
            "vault:v1:",
            "vault:v0:AQI=",
            "vault:v01:AQI=",
            "vault:v1:AQI",
            "vault:v1:AQI=\n",
            "v1:AQI=",
            "vault:v99999999999:AQI=",
        ] {
            assert_eq!(versioned(bad), None, "{bad}");
        }
    }
}
