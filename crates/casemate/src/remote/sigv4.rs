//! AWS Signature Version 4, for S3, KMS and what speaks like them.
//!
//! Source: "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)", Amazon S3 API Reference,
//! whose worked examples are the tests. The path of an S3 request is signed as it is sent, escaped once; requests to other
//! services have the path `/`. Credentials and region come from the environment under the names AWS's own tools use.

use casemate_core::{Digest, Secret, Timestamp};
use casemate_provenance::hash::hmac_sha256;
use casemate_provenance::sha256;

use super::url::Url;

/// An AWS identity, for one region.
#[derive(Debug)]
pub struct Signer {
    /// Access key, not secret by itself.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Secret<String>,
    /// Token of a session, for temporary credentials.
    pub session_token: Option<Secret<String>>,
    /// Region signed for.
    pub region: String,
}

/// What is signed.
#[derive(Clone, Copy)]
pub struct Signing<'a> {
    /// The service as AWS names it.
    pub service: &'static str,
    /// The method.
    pub method: &'static str,
    /// The address.
    pub url: &'a Url,
    /// Further header fields, of the service's own.
    pub fields: &'a [(&'static str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

impl Signer {
    /// The identity `set` names, for `region`; none where it names no key.
    pub fn of(set: &dyn Fn(&str) -> Option<String>, region: String) -> Option<Self> {
        let (access_key, secret_key) = set("AWS_ACCESS_KEY_ID").zip(set("AWS_SECRET_ACCESS_KEY"))?;
        let session_token = set("AWS_SESSION_TOKEN").map(Secret::new);
        Some(Self { access_key, secret_key: Secret::new(secret_key), session_token, region })
    }

    /// Header fields that sign a GET of `url` without body at `now`.
    pub fn headers(&self, url: &Url, now: Timestamp) -> Vec<(&'static str, Secret<String>)> {
        self.signed(Signing { service: "s3", method: "GET", url, fields: &[], body: b"" }, now)
    }

    /// Header fields that sign `what` at `now`, its own among them.
    pub fn signed(&self, what: Signing<'_>, now: Timestamp) -> Vec<(&'static str, Secret<String>)> {
        let time = compact(now);
        let mut fields = vec![
            ("host", what.url.authority()),
            ("x-amz-content-sha256", sha256(what.body).to_string()),
            ("x-amz-date", time.clone()),
        ];
        fields.extend(what.fields.iter().map(|(name, value)| (*name, (*value).to_owned())));
        if let Some(token) = &self.session_token {
            fields.push(("x-amz-security-token", token.expose().clone()));
        }
        fields.sort();
        let authorization = self.authorization(what, &fields, &time);
        let mut headers: Vec<_> = fields
            .into_iter()
            .filter(|(name, _)| *name != "host")
            .map(|(name, value)| (name, Secret::new(value)))
            .collect();
        headers.push(("authorization", Secret::new(authorization)));
        headers
    }

    /// The value of `Authorization` over `fields`, sorted by lower-case name, at `time` (`20130524T000000Z`).
    fn authorization(&self, what: Signing<'_>, fields: &[(&str, String)], time: &str) -> String {
        let Signing { service, method, url, body, .. } = what;
        let day = time.split('T').next().unwrap_or_default();
        let names = fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = fields.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let mut query: Vec<String> = url.query.iter().flat_map(|query| query.split('&')).map(canonical_pair).collect();
        query.sort();
        let request = format!("{method}\n{}\n{}\n{lines}\n{names}\n{}", url.path, query.join("&"), sha256(body));
        let scope = format!("{day}/{}/{service}/aws4_request", self.region);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(request.as_bytes()));
        let mut key = format!("AWS4{}", self.secret_key.expose()).into_bytes();
        for part in [day, &self.region, service, "aws4_request"] {
            key = hmac_sha256(&key, part.as_bytes()).0.to_vec();
        }
        let signature: Digest = hmac_sha256(&key, text.as_bytes());
        format!("AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={signature}", self.access_key)
    }
}

/// A parameter without value is signed as one with an empty value.
fn canonical_pair(pair: &str) -> String {
    if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") }
}

/// `20130524T000000Z`.
fn compact(now: Timestamp) -> String {
    let seconds = Timestamp::from_unix_ms(now.unix_ms().div_euclid(1000) * 1000);
    seconds.to_string().replace(['-', ':'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer {
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into()),
            session_token: None,
            region: "us-east-1".into(),
        }
    }

    fn signature(url: &str, extra: &[(&str, &str)]) -> String {
        let url = Url::parse(url).unwrap();
        let mut fields = vec![
            ("host", url.authority()),
            ("x-amz-content-sha256", sha256(b"").to_string()),
            ("x-amz-date", "20130524T000000Z".to_owned()),
        ];
        fields.extend(extra.iter().map(|(name, value)| (*name, (*value).to_owned())));
        fields.sort();
        let what = Signing { service: "s3", method: "GET", url: &url, fields: &[], body: b"" };
        let value = signer().authorization(what, &fields, "20130524T000000Z");
        value.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn the_examples_of_the_manual_come_out() {
        assert_eq!(
            signature("https://examplebucket.s3.amazonaws.com/test.txt", &[("range", "bytes=0-9")]),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        assert_eq!(
            signature("https://examplebucket.s3.amazonaws.com/?lifecycle", &[]),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert_eq!(
            signature("https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J", &[]),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn the_body_service_and_own_fields_of_a_request_are_signed() {
        let url = Url::parse("https://kms.us-east-1.amazonaws.com/").unwrap();
        let now = "2013-05-24T00:00:00Z".parse().unwrap();
        let signed = |service, fields: &[(&'static str, &str)], body: &[u8]| {
            let headers = signer().signed(Signing { service, method: "POST", url: &url, fields, body }, now);
            headers.last().unwrap().1.expose().clone()
        };
        let target = [("x-amz-target", "TrentService.Sign")];
        let one = signed("kms", &target, b"{}");
        assert!(
            one.contains(
                "/us-east-1/kms/aws4_request,SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-target,"
            )
        );
        let others = [
            signed("kms", &target, b"{ }"),
            signed("kmt", &target, b"{}"),
            signed("kms", &[("x-amz-target", "TrentService.Decrypt")], b"{}"),
        ];
        others.iter().for_each(|other| assert_ne!(other.rsplit_once('='), one.rsplit_once('=')));
    }

    #[test]
    fn a_request_carries_time_hash_and_token_and_shows_no_secret() {
        let signer = Signer { session_token: Some(Secret::new("token-of-session".into())), ..signer() };
        let headers = signer
            .headers(&Url::parse("https://b.s3.amazonaws.com/k").unwrap(), "2013-05-24T00:00:00.123Z".parse().unwrap());
        let names: Vec<_> = headers.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["x-amz-content-sha256", "x-amz-date", "x-amz-security-token", "authorization"]);
        assert_eq!(headers[1].1.expose(), "20130524T000000Z");
        let authorization = headers[3].1.expose();
        assert!(authorization.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"));
        assert!(authorization.contains("Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"));
        let shown = format!("{signer:?} {headers:?}");
        assert!(!shown.contains("wJalr") && !shown.contains("token-of-session"), "{shown}");
    }
}
