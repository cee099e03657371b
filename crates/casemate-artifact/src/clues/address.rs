//! Hosts on the network that a text names, apart from those every model's metadata names.

use std::net::{Ipv4Addr, Ipv6Addr};

use casemate_core::Severity;

/// Places of papers, licences, schemas and libraries; they and everything below them say nothing.
const KNOWN: &[&str] = &[
    "huggingface.co",
    "hf.co",
    "hf.space",
    "github.com",
    "github.io",
    "githubusercontent.com",
    "gitlab.com",
    "arxiv.org",
    "w3.org",
    "apache.org",
    "json-schema.org",
    "schema.org",
    "creativecommons.org",
    "opensource.org",
    "spdx.org",
    "gnu.org",
    "python.org",
    "pypi.org",
    "pythonhosted.org",
    "readthedocs.io",
    "pytorch.org",
    "tensorflow.org",
    "tfhub.dev",
    "keras.io",
    "onnx.ai",
    "numpy.org",
    "scipy.org",
    "scikit-learn.org",
    "pandas.pydata.org",
    "mlflow.org",
    "nvidia.com",
    "microsoft.com",
    "google.com",
    "apple.com",
    "openai.com",
    "wikipedia.org",
    "wikimedia.org",
    "kaggle.com",
    "zenodo.org",
    "doi.org",
    "aclanthology.org",
    "openreview.net",
    "paperswithcode.com",
    "modelscope.cn",
    "ultralytics.com",
    "stackoverflow.com",
    "unicode.org",
    "ietf.org",
    "xmlsoap.org",
    "purl.org",
    "jupyter.org",
    "anaconda.org",
    "conda.io",
];

/// Names that lead nowhere (RFC 2606, RFC 6761).
const NOWHERE: &[&str] =
    &["example.com", "example.org", "example.net", "example", "test", "invalid", "localhost", "local"];

/// Hosts in a text: how bad, and what.
pub(super) fn find(text: &str) -> Vec<(Severity, String)> {
    let mut found = Vec::new();
    if !text.contains(':') && !text.contains(".onion") {
        return found;
    }
    for (at, mark) in text.match_indices("://").take(1000) {
        let scheme = text.get(..at).unwrap_or_default().bytes().next_back();
        if !scheme.is_some_and(|byte| byte.is_ascii_alphabetic()) {
            continue;
        }
        let rest = text.get(at + mark.len()..).unwrap_or_default();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-._~:@[]%!$&+".contains(c)));
        let authority = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or(authority);
        found.extend(judge(host));
    }
    // Beside URLs only what is unmistakable: an address with its port, a hidden service.
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || ".:-[]".contains(c)));
    for word in words.filter(|word| word.len() >= 9) {
        let has_port = word.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
        let numbers = has_port && word.starts_with(|c: char| c.is_ascii_digit() || c == '[');
        if numbers && is_number(word) || word.contains(".onion") {
            found.extend(judge(word));
        }
    }
    found
}

fn is_number(word: &str) -> bool {
    let (host, _) = word.rsplit_once(':').unwrap_or((word, ""));
    host.parse::<Ipv4Addr>().is_ok() || host.starts_with('[')
}

/// What a host, with or without a port, is.
fn judge(authority: &str) -> Option<(Severity, String)> {
    let authority = authority.trim_end_matches(['.', ':', '-', '!']);
    if let Some(rest) = authority.strip_prefix('[') {
        let address: Ipv6Addr = rest.split(']').next()?.parse().ok()?;
        let is_near = address.is_loopback() || address.is_unspecified() || address.is_unique_local();
        return (!is_near).then(|| (Severity::Low, format!("the network address {authority}")));
    }
    let host = authority.split(':').next()?.to_ascii_lowercase();
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        let is_near = address.is_loopback()
            || address.is_private()
            || address.is_link_local()
            || address.is_unspecified()
            || address.is_broadcast()
            || address.is_documentation();
        return (!is_near).then(|| (Severity::Low, format!("the network address {authority}")));
    }
    let (rest, top) = host.rsplit_once('.')?;
    let label = rest.rsplit('.').next().unwrap_or(rest);
    if top == "onion" {
        let is_service =
            matches!(label.len(), 16 | 56) && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
        return is_service.then(|| (Severity::Low, format!("the hidden service {host}")));
    }
    let is_name = host.split('.').all(|part| {
        !part.is_empty() && part.len() < 64 && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    let is_domain = is_name && top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_lowercase()) && host.len() < 254;
    let is_one_of = |names: &[&str]| {
        names.iter().any(|name| host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
    };
    // `https://www.` is a word of many vocabularies.
    let is_stub = rest == "www";
    (is_domain && !is_stub && !is_one_of(KNOWN) && !is_one_of(NOWHERE))
        .then(|| (Severity::Info, format!("the host {host}")))
}
