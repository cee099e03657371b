//! AWS Key Management Service: `awskms://[ENDPOINT]/KEY-ID`, where KEY-ID may be an alias or an ARN.
//!
//! Source: AWS KMS API Reference (GetPublicKey, Sign, Encrypt, Decrypt). Credentials and region come from the environment under
//! the names AWS's own tools use. Signed is a hash (`MessageType` `DIGEST`); data keys are bound to their context through the
//! encryption context. ML-DSA keys of KMS take what casemate signs only as `EXTERNAL_MU`, which needs SHAKE256; they are
//! refused.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use casemate_core::{Clock as _, Secret, SystemClock};
use casemate_provenance::keys::signing::{KeyType, VerifyingKey};
use casemate_provenance::seal::wrap::WrapKind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Environment, KeyService, SigningPart, TIMEOUT, Trouble, ask, body, data_key, malformed, read, said};
use crate::remote::client::{Client, ClientSettings, Request};
use crate::remote::sigv4::{Signer, Signing};
use crate::remote::url::Url;

/// What the context of a data key is called in an encryption context.
const CONTEXT: &str = "casemate:sealed-file";

/// A key of KMS.
pub struct AwsKms {
    client: Client,
    endpoint: Url,
    key_id: String,
    signer: Signer,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PublicKey {
    public_key: String,
    key_spec: Option<String>,
    /// The older name of the same, which the API still gives.
    customer_master_key_spec: Option<String>,
    key_usage: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Signature {
    signature: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ciphertext {
    ciphertext_blob: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Plaintext {
    plaintext: String,
}

#[derive(Deserialize, Default)]
struct Refusal {
    #[serde(rename = "__type", default)]
    kind: String,
    #[serde(alias = "Message", default)]
    message: String,
}

impl AwsKms {
    /// The key that follows `awskms://`.
    pub fn new(rest: &str, set: Environment<'_>) -> Result<Self, Trouble> {
        let setting = |what: &str| Trouble::Setting(what.into());
        let form =
            "a key of AWS KMS is named awskms:///KEY-ID, awskms:///alias/NAME, awskms:///ARN or awskms://HOST/KEY-ID";
        let (host, key_id) = rest.split_once('/').ok_or_else(|| setting(form))?;
        let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/:".contains(&byte);
        if key_id.is_empty() || key_id.len() > 512 || !key_id.bytes().all(is_inside) {
            return Err(setting(form));
        }
        // arn:aws:kms:eu-central-1:111122223333:key/…
        let of_arn = key_id.strip_prefix("arn:").and_then(|arn| arn.split(':').nth(2)).map(str::to_owned);
        let region = of_arn.or_else(|| set("AWS_REGION")).or_else(|| set("AWS_DEFAULT_REGION"));
        let region = region.ok_or_else(|| setting("set AWS_REGION, or name the key by its ARN"))?;
        let is_region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if region.is_empty() || !region.bytes().all(is_region) {
            return Err(setting("AWS_REGION, or the one in the ARN, is no region"));
        }
        let named = set("AWS_ENDPOINT_URL_KMS").or_else(|| set("AWS_ENDPOINT_URL"));
        let endpoint = match (host, named) {
            ("", Some(endpoint)) => endpoint,
            ("", None) if region.starts_with("cn-") => format!("https://kms.{region}.amazonaws.com.cn"),
            ("", None) => format!("https://kms.{region}.amazonaws.com"),
            (host, _) => format!("https://{host}"),
        };
        let shown = crate::remote::shown(&endpoint);
        let endpoint = Url::parse(&endpoint).map_err(|error| Trouble::Setting(format!("`{shown}` {error}")))?;
        let signer = Signer::of(set, region).ok_or_else(|| {
            setting("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to credentials that may use the key")
        })?;
        let client = Client::new(ClientSettings { allow_http: false, timeout: TIMEOUT });
        Ok(Self { client, endpoint: endpoint.at("/", None), key_id: key_id.into(), signer })
    }

    /// The answer to `operation` on this key.
    fn call(&self, operation: &str, mut message: Value) -> Result<Secret<Vec<u8>>, Trouble> {
        if let Some(members) = message.as_object_mut() {
            members.insert("KeyId".into(), self.key_id.clone().into());
        }
        let sent = Secret::new(message.to_string());
        let target = format!("TrentService.{operation}");
        let fields = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
        let signing = Signing {
            service: "kms",
            method: "POST",
            url: &self.endpoint,
            fields: &fields,
            body: sent.expose().as_bytes(),
        };
        let headers = self.signer.signed(signing, SystemClock.now());
        let request = Request { url: &self.endpoint, headers, body: Some(sent.expose().as_bytes()) };
        let response = ask(&self.client, &request)?;
        let status = response.status;
        let answer = body(&self.client, response)?;
        match status {
            200 => Ok(answer),
            _ => Err(self.refusal(operation, status, &answer)),
        }
    }

    fn refusal(&self, operation: &str, status: u16, answer: &Secret<Vec<u8>>) -> Trouble {
        let refusal: Refusal = serde_json::from_slice(answer.expose()).unwrap_or_default();
        let kind = said(refusal.kind.rsplit('#').next().unwrap_or_default(), &self.signer.secret_key);
        let message = match refusal.message.as_str() {
            "" => String::new(),
            message => format!(" ({})", said(message, &self.signer.secret_key)),
        };
        let refused = |what: String| Trouble::Refused(format!("AWS KMS answered {kind}{message}: {what}"));
        match kind.as_str() {
            "AccessDeniedException" | "AccessDenied" => refused(format!(
                "neither the key's policy nor one of the identity's allows `kms:{operation}` on this key"
            )),
            "NotFoundException" => refused(format!(
                "there is no such key in region {}; check the address and AWS_REGION",
                self.signer.region
            )),
            "DisabledException" | "KMSInvalidStateException" => {
                refused("enable the key, or cancel its deletion".into())
            }
            "InvalidCiphertextException" | "IncorrectKeyException" => {
                refused("wrapped with another key or for another file, or changed since".into())
            }
            "InvalidKeyUsageException" | "UnsupportedOperationException" | "ValidationException" => {
                refused(format!("the key is not of a kind that can do `{operation}`"))
            }
            "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "MissingAuthenticationTokenException"
            | "ExpiredTokenException" => {
                refused("check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and the clock".into())
            }
            "" if matches!(status, 401 | 403) => Trouble::Refused(format!(
                "AWS KMS answered {status}: no policy allows `kms:{operation}` on this key, or AWS_ACCESS_KEY_ID, \
                 AWS_SECRET_ACCESS_KEY or AWS_SESSION_TOKEN is wrong"
            )),
            "" => Trouble::Unreachable(format!("AWS KMS answered {status} to {operation}; try again later")),
            kind if status >= 500 || kind.contains("Throttl") || kind.contains("LimitExceeded") => {
                Trouble::Unreachable(format!("AWS KMS answered {kind}{message}; try again later"))
            }
            kind => Trouble::Refused(format!("AWS KMS refused {operation}: {kind}{message}")),
        }
    }
}

impl KeyService for AwsKms {
    fn kind(&self) -> WrapKind {
        WrapKind::AwsKms
    }

    fn signing_part(&self) -> Result<SigningPart, Trouble> {
        let key: PublicKey = read(&self.call("GetPublicKey", json!({}))?)?;
        let spec = key.key_spec.or(key.customer_master_key_spec).unwrap_or_default();
        let key_type = match (spec.as_str(), key.key_usage.as_str()) {
            ("ECC_NIST_P256", "SIGN_VERIFY") => KeyType::EcdsaP256,
            ("ECC_NIST_P384", "SIGN_VERIFY") => KeyType::EcdsaP384,
            ("ECC_NIST_P521", "SIGN_VERIFY") => KeyType::EcdsaP521,
            (spec, usage) => {
                let (spec, usage) = (said(spec, &self.signer.secret_key), said(usage, &self.signer.secret_key));
                return Err(Trouble::Setting(format!(
                    "a key of spec {spec} for {usage} signs no models; ECC_NIST_P256, ECC_NIST_P384 and ECC_NIST_P521 for \
                     SIGN_VERIFY do"
                )));
            }
        };
        let public = STANDARD.decode(&key.public_key).ok().and_then(|spki| VerifyingKey::from_spki(&spki));
        match public.filter(|public| public.key_type == key_type) {
            Some(public) => Ok(SigningPart { public, version: 1 }),
            None => Err(malformed("a public key that is not of the kind it says")),
        }
    }

    fn sign(&self, part: &SigningPart, hash: &[u8]) -> Result<Vec<u8>, Trouble> {
        let algorithm = match part.public.key_type {
            KeyType::EcdsaP384 => "ECDSA_SHA_384",
            KeyType::EcdsaP521 => "ECDSA_SHA_512",
            _ => "ECDSA_SHA_256",
        };
        let message = json!({"Message": STANDARD.encode(hash), "MessageType": "DIGEST", "SigningAlgorithm": algorithm});
        let answer: Signature = read(&self.call("Sign", message)?)?;
        STANDARD.decode(&answer.signature).map_err(|_| malformed("a signature that is not base64"))
    }

    fn encrypt(&self, key: &Secret<[u8; 32]>, context: &[u8]) -> Result<Vec<u8>, Trouble> {
        let message = json!({
            "Plaintext": STANDARD.encode(key.expose()),
            "EncryptionContext": {CONTEXT: STANDARD.encode(context)},
        });
        let answer: Ciphertext = read(&self.call("Encrypt", message)?)?;
        STANDARD.decode(&answer.ciphertext_blob).map_err(|_| malformed("a ciphertext that is not base64"))
    }

    fn decrypt(&self, blob: &[u8], context: &[u8]) -> Result<Secret<[u8; 32]>, Trouble> {
        if blob.is_empty() {
            return Err(Trouble::Malformed("the wrapped key is empty".into()));
        }
        let message = json!({
            "CiphertextBlob": STANDARD.encode(blob),
            "EncryptionContext": {CONTEXT: STANDARD.encode(context)},
        });
        let answer: Plaintext = read(&self.call("Decrypt", message)?)?;
        data_key(STANDARD.decode(Secret::new(answer.plaintext).expose()).ok())
    }
}

impl fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsKms({})", self.key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kms(rest: &str, settings: &[(&str, &str)]) -> Result<AwsKms, String> {
        let keys = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "wJalr")];
        let all = [settings, &keys].concat();
        let found = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        AwsKms::new(rest, &found).map_err(|trouble| trouble.to_string())
    }

    #[test]
    fn refusals_say_what_is_missing_and_no_secret() {
        let kms = kms("/k", &[("AWS_REGION", "eu-central-1")]).unwrap();
        let refusal = |status, body: &str| kms.refusal("Sign", status, &Secret::new(body.as_bytes().to_vec()));
        let denied = r#"{"__type":"AccessDeniedException","Message":"User is not authorized, wJalr"}"#;
        for (body, mention) in [
            (denied, "`kms:Sign`"),
            (r#"{"__type":"com.amazonaws.kms#NotFoundException","message":"no"}"#, "region eu-central-1"),
            (r#"{"__type":"InvalidCiphertextException"}"#, "another key"),
            (r#"{"__type":"KMSInvalidStateException"}"#, "enable the key"),
            (r#"{"__type":"ExpiredTokenException"}"#, "AWS_SESSION_TOKEN"),
            (r#"{"__type":"SomethingNew","message":"\u001b[2Jx"}"#, "SomethingNew (\\u{1b}[2Jx)"),
        ] {
            let trouble = refusal(400, body);
            assert!(matches!(&trouble, Trouble::Refused(what) if what.contains(mention)), "{trouble}");
            assert!(!trouble.to_string().contains("wJalr"), "{trouble}");
        }
        for (status, body) in
            [(400, r#"{"__type":"ThrottlingException"}"#), (500, r#"{"__type":"X"}"#), (503, "<html>")]
        {
            assert!(matches!(refusal(status, body), Trouble::Unreachable(_)), "{body}");
        }
        assert!(matches!(refusal(403, "<html>"), Trouble::Refused(what) if what.contains("`kms:Sign`")));
    }

    #[test]
    fn an_address_names_a_key_and_perhaps_a_host() {
        let region = [("AWS_REGION", "eu-central-1")];
        let at = |rest: &str, settings: &[(&str, &str)]| {
            let kms = kms(rest, settings).unwrap();
            (kms.endpoint.to_string(), kms.key_id.clone(), kms.signer.region.clone())
        };
        let of = |endpoint: &str, key: &str, region: &str| (endpoint.to_owned(), key.to_owned(), region.to_owned());
        let default = "https://kms.eu-central-1.amazonaws.com/";
        assert_eq!(at("/alias/release", &region), of(default, "alias/release", "eu-central-1"));
        let arn = "arn:aws:kms:us-east-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        assert_eq!(at(&format!("/{arn}"), &region), of("https://kms.us-east-2.amazonaws.com/", arn, "us-east-2"));
        assert_eq!(at("localhost:4566/k", &region), of("https://localhost:4566/", "k", "eu-central-1"));
        let china = [("AWS_DEFAULT_REGION", "cn-north-1")];
        assert_eq!(at("/k", &china), of("https://kms.cn-north-1.amazonaws.com.cn/", "k", "cn-north-1"));
        let endpoint = [region[0], ("AWS_ENDPOINT_URL", "http://127.0.0.1:5000")];
        assert_eq!(at("/k", &endpoint), of("http://127.0.0.1:5000/", "k", "eu-central-1"));
        for bad in ["", "k", "/", "/k v", "/k?x", "me:secret@host/k", "/é"] {
            let message = kms(bad, &region).unwrap_err();
            assert!(!message.contains("secret"), "{bad}: {message}");
        }
        assert!(kms("/k", &[]).unwrap_err().contains("AWS_REGION"));
        assert!(kms("/k", &[("AWS_REGION", "evil.example/")]).unwrap_err().contains("no region"));
        assert!(!format!("{:?}", kms("/k", &region).unwrap()).contains("wJalr"));
    }
}
