//! Objects of S3 and what speaks like it: `s3://bucket/prefix`.
//!
//! Credentials, region and endpoint come from the environment under the names AWS's own tools use; without an access key
//! the request is anonymous. Source: Amazon S3 API Reference, ListObjectsV2 and GetObject. Names arrive escaped
//! (`encoding-type=url`), so the listing needs no more of XML than elements without attributes.

use std::env;
use std::sync::Arc;

use super::authorization::Authorization;
use super::client::Client;
use super::error::Error;
use super::sigv4::Signer;
use super::source::Remote;
use super::url::{Url, escape, escape_path, unescape};
use super::{FILES_MAX, Item, Listing, shown};

/// Most bytes of one page of a listing: 1,000 names of 1 KiB, escaped, with what stands around them.
const PAGE_BYTES_MAX: u64 = 8 << 20;

/// Most pages of a listing, wanted objects among them or not: a million names.
const PAGES_MAX: usize = 1000;

/// A bucket, and the beginning of the names in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Address {
    /// Bucket.
    pub bucket: String,
    /// A key, or what keys under it begin with; empty for the whole bucket.
    pub prefix: String,
}

/// Where S3 is and who asks, as the environment says.
#[derive(Debug)]
struct Service {
    authorization: Authorization,
    /// The bucket's address, its path ending in `/`.
    base: Url,
}

/// Reads what follows `s3://`.
pub fn parse(rest: &str) -> Option<S3Address> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_bucket = (3..=63).contains(&bucket.len()) && bucket.bytes().all(is_name) && !bucket.starts_with('.');
    is_bucket.then(|| S3Address { bucket: bucket.into(), prefix: prefix.into() })
}

/// The objects at or under `address`.
///
/// # Errors
/// When the bucket cannot be listed.
pub fn list(client: &Client, address: &S3Address) -> Result<Listing, Error> {
    let service = Service::from_environment(&address.bucket)?;
    let mut listing = Listing::default();
    let mut token: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let page = page(client, &service, address, token.as_deref())?;
        for (key, size_bytes) in page.objects {
            let is_under = address.prefix.is_empty()
                || address.prefix.ends_with('/')
                || key == address.prefix
                || key.strip_prefix(address.prefix.as_str()).is_some_and(|rest| rest.starts_with('/'));
            // A key that ends in a slash and holds nothing stands for a directory.
            if !is_under || (key.ends_with('/') && size_bytes == 0) {
                continue;
            }
            if listing.items.len() >= FILES_MAX {
                listing.skip(format!("s3://{}/{key}", address.bucket), format!("more than {FILES_MAX} objects"));
                return Ok(listing);
            }
            listing.items.push(service.item(&address.bucket, &key, size_bytes));
        }
        let next = page.next.filter(|next| Some(next) != token.as_ref());
        match (page.is_truncated, next) {
            (false, _) => return Ok(listing),
            (true, Some(next)) => token = Some(next),
            (true, None) => {
                let what = "the listing breaks off without saying how it goes on".into();
                return Err(Error::Listing { url: service.base.shown(), what });
            }
        }
    }
    listing
        .skip(format!("s3://{}/{}", address.bucket, address.prefix), format!("more than {PAGES_MAX} pages of names"));
    Ok(listing)
}

impl Service {
    fn from_environment(bucket: &str) -> Result<Self, Error> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let region = set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION")).unwrap_or_else(|| "us-east-1".into());
        let endpoint = set("AWS_ENDPOINT_URL_S3").or_else(|| set("AWS_ENDPOINT_URL"));
        let base = match &endpoint {
            Some(endpoint) => {
                let wrong = |error| Error::Setting { name: "AWS_ENDPOINT_URL", value: shown(endpoint), what: error };
                let url = Url::parse(endpoint).map_err(wrong)?;
                url.at(&format!("{}/{bucket}/", url.path.trim_end_matches('/')), None)
            }
            // A bucket with dots fits no certificate as a host name.
            None => {
                let text = match bucket.contains('.') {
                    true => format!("https://s3.{region}.amazonaws.com/{bucket}/"),
                    false => format!("https://{bucket}.s3.{region}.amazonaws.com/"),
                };
                let wrong = |error| Error::Setting { name: "AWS_REGION", value: text.clone(), what: error };
                Url::parse(&text).map_err(wrong)?
            }
        };
        let authorization =
            Signer::of(&set, region).map_or(Authorization::None, |signer| Authorization::Aws(Arc::new(signer)));
        Ok(Self { authorization, base })
    }

    fn item(&self, bucket: &str, key: &str, size_bytes: u64) -> Item {
        let url = self.base.at(&format!("{}{}", self.base.path, escape_path(key)), None);
        Item {
            shown: format!("s3://{bucket}/{key}"),
            remote: Remote {
                url,
                authorization: self.authorization.clone(),
                size_bytes: Some(size_bytes),
                sha256: None,
                is_immutable: false,
            },
        }
    }
}

/// One page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    objects: Vec<(String, u64)>,
    is_truncated: bool,
    next: Option<String>,
}

fn page(client: &Client, service: &Service, address: &S3Address, token: Option<&str>) -> Result<Page, Error> {
    let escaped = |text: &str| escape(text, |_| false);
    let token = token.map(|token| format!("continuation-token={}&", escaped(token))).unwrap_or_default();
    let query = format!("{token}encoding-type=url&list-type=2&prefix={}", escaped(&address.prefix));
    let url = service.base.at(&service.base.path, Some(query));
    let response = client.get(&url, &[], &service.authorization)?;
    let status = response.status;
    let region = response.header("x-amz-bucket-region").map(str::to_owned);
    if status != 200 {
        let is_anonymous = matches!(service.authorization, Authorization::None);
        let hint = match (status, region) {
            (301 | 307 | 400 | 403, Some(region)) if status != 403 => format!("the bucket is in another region; set AWS_REGION={region}"),
            (401 | 403, _) if is_anonymous => {
                "asked without credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or scan one object by its full key".into()
            }
            (401 | 403, _) => "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION and the right to list the bucket".into(),
            (404, _) => "check the bucket's name and AWS_ENDPOINT_URL".into(),
            _ => String::new(),
        };
        return Err(Error::Status { url: url.shown(), status, hint });
    }
    let body = response.body(client, PAGE_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&body);
    parse_page(&text).ok_or_else(|| Error::Listing { url: url.shown(), what: "its answer is no listing of S3".into() })
}

pub(super) fn parse_page(text: &str) -> Option<Page> {
    let body = element(text, "ListBucketResult")?.0;
    let mut page = Page {
        is_truncated: match element(body, "IsTruncated")?.0 {
            "true" => true,
            "false" => false,
            _ => return None,
        },
        next: element(body, "NextContinuationToken").map(|(token, _)| plain(token)),
        objects: Vec::new(),
    };
    let is_escaped = element(body, "EncodingType").is_some_and(|(encoding, _)| encoding == "url");
    let mut rest = body;
    while let Some((object, after)) = element(rest, "Contents") {
        let key = plain(element(object, "Key")?.0);
        // Amazon escapes a space as `+`.
        let key = if is_escaped { unescape(&key.replace('+', " ")) } else { key };
        page.objects.push((key, element(object, "Size")?.0.trim().parse().ok()?));
        rest = after;
    }
    Some(page)
}

/// The content of the first element `name`, and what follows it.
fn element<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let mut rest = text;
    loop {
        let (_, after) = rest.split_once(&format!("<{name}"))?;
        // `<Key>` or `<ListBucketResult xmlns=…>`, and not `<KeyCount>`.
        if after.starts_with(['>', ' ']) {
            let (_, content) = after.split_once('>')?;
            return content.split_once(&format!("</{name}>"));
        }
        rest = after;
    }
}

/// Text of an element, its entities resolved.
fn plain(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_and_a_prefix_are_read() {
        let address = |bucket: &str, prefix: &str| Some(S3Address { bucket: bucket.into(), prefix: prefix.into() });
        assert_eq!(parse("my-bucket"), address("my-bucket", ""));
        assert_eq!(parse("my.bucket/a/b c"), address("my.bucket", "a/b c"));
        for none in ["", "/x", "ab/x", "host:80/x", "me@host/x", "..x/y"] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_page_of_a_listing_is_read() {
        let text = "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://x/\"><KeyCount>2</KeyCount>\
            <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
            <Contents><Key>a/b%2Bc+d.pt</Key><ETag>&quot;x&quot;</ETag><Size>12</Size></Contents>\
            <Contents><Key>e&amp;f</Key><Size>0</Size></Contents>\
            <NextContinuationToken>1/&lt;==</NextContinuationToken></ListBucketResult>";
        let page = parse_page(text).unwrap();
        assert_eq!(page.objects, [("a/b+c d.pt".to_owned(), 12), ("e&f".to_owned(), 0)]);
        assert_eq!((page.is_truncated, page.next.as_deref()), (true, Some("1/<==")));
        for (from, to) in [("<Size>12", "<Size>-1"), ("true", "perhaps"), ("<Key>a", "<Kex>a"), ("ListBucket", "List")]
        {
            assert_eq!(parse_page(&text.replace(from, to)), None, "{to}");
        }
    }
}
