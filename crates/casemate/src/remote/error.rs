//! Why something could not be read from a server, in words that say what to do next.
//!
//! No message shows a query, which may hold a signature, or a credential.

use std::io;
use std::time::Duration;

use super::client::Inside;
use super::url::Url;

/// Why something could not be read from a server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such host.
    #[error(
        "`{host}` is not known to the name server; check the spelling, the network, and HTTPS_PROXY if there is a proxy"
    )]
    HostNotFound { host: String },
    /// Nobody answers there, or not any longer.
    #[error("`{url}`: {what}; check that the server runs and can be reached from here")]
    Connection { url: String, what: String, is_transient: bool },
    /// Encryption failed.
    #[error(
        "`{url}`: no secure connection: {what}; where the certificate comes from an authority of your own, name its file in SSL_CERT_FILE"
    )]
    Tls { url: String, what: String },
    /// No roots to trust.
    #[error(
        "no certificate authorities to trust were found ({what}); install the package ca-certificates, or name a PEM file in SSL_CERT_FILE"
    )]
    Certificates { what: String },
    /// Slower than allowed.
    #[error("`{url}`: {what} within {seconds} s; try again, or allow more with --timeout")]
    Timeout { url: String, what: &'static str, seconds: u64 },
    /// Plain HTTP to another machine.
    #[error(
        "`{url}` is not encrypted: whoever sits between could answer for the server; use https://, or accept that with --allow-http"
    )]
    Insecure { url: String },
    /// A redirect to where none may lead.
    #[error("`{from}` redirects {what}; if you trust the target, name it itself")]
    Redirect { from: String, what: String },
    /// An answer that is none.
    #[error("`{url}`: the server answered {status}{}", advice(*.status, .hint))]
    Status { url: String, status: u16, hint: String },
    /// No ranges.
    #[error(
        "`{url}`: the server gives whole files only, not parts (it ignored Range), and this one is {size}; download it and scan the file"
    )]
    NoRanges { url: String, size: String },
    /// A range that is not the one asked for.
    #[error("`{url}`: the server's answer does not fit what was asked: {what}; download the file and scan it")]
    Range { url: String, what: String },
    /// Changed between two reads.
    #[error("`{url}` changed while it was read ({what}); scan it again when nobody writes to it")]
    Changed { url: String, what: String },
    /// Nothing tells whether it changes.
    #[error(
        "`{url}`: the server sends neither ETag nor Last-Modified, so parts of two versions could not be told apart; download the file and scan it"
    )]
    NoValidator { url: String },
    /// Encoded.
    #[error(
        "`{url}`: the body comes with content-encoding `{encoding}`, so it is not the file; download the file and scan it"
    )]
    Encoded { url: String, encoding: String },
    /// Longer than it may be.
    #[error("`{url}`: the answer is longer than the {bytes_max} bytes it may have")]
    TooLong { url: String, bytes_max: u64 },
    /// Content that is not what it is named after.
    #[error("`{url}`: {what}")]
    Digest { url: String, what: String },
    /// A listing or manifest that cannot be read.
    #[error("`{url}`: {what}")]
    Listing { url: String, what: String },
    /// A setting that is no address.
    #[error("{name}: `{value}` {what}")]
    Setting { name: &'static str, value: String, what: super::url::Error },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// The error in an answer with `status`.
    pub fn status(url: &Url, status: u16) -> Self {
        Self::Status { url: url.shown(), status, hint: String::new() }
    }

    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Connection { is_transient: true, .. })
    }

    /// What ureq says, in our words.
    pub fn from_ureq(url: &Url, error: ureq::Error, timeout: Duration) -> Self {
        let shown = url.shown();
        let connection = |what: String, is_transient| Self::Connection { url: shown.clone(), what, is_transient };
        match error {
            ureq::Error::HostNotFound => Self::HostNotFound { host: url.host.clone() },
            ureq::Error::Timeout(which) => Self::Timeout {
                url: shown,
                what: match which {
                    ureq::Timeout::Resolve | ureq::Timeout::Connect => "no connection",
                    ureq::Timeout::RecvBody => "the body did not arrive",
                    _ => "no answer",
                },
                seconds: timeout.as_secs(),
            },
            ureq::Error::Rustls(error) => Self::Tls { url: shown, what: error.to_string() },
            ureq::Error::Tls(what) => Self::Tls { url: shown, what: what.into() },
            ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(tls) => Self::Tls { url: shown, what: tls.to_string() },
                None => connection(error.to_string(), error.kind() != io::ErrorKind::ConnectionRefused),
            },
            ureq::Error::Other(error) if error.is::<Inside>() => {
                Self::Redirect { from: shown, what: "to an address inside this network".into() }
            }
            ureq::Error::Protocol(error) => connection(format!("not an HTTP answer: {error}"), false),
            ureq::Error::ConnectProxyFailed(what) => connection(format!("the proxy refused: {what}"), false),
            error => connection(error.to_string(), false),
        }
    }

    /// What went wrong while a body was read.
    pub fn from_body(url: &Url, error: io::Error, bytes_max: u64, timeout: Duration) -> Self {
        match error.downcast::<ureq::Error>() {
            Ok(ureq::Error::BodyExceedsLimit(_)) => Self::TooLong { url: url.shown(), bytes_max },
            Ok(error) => Self::from_ureq(url, error, timeout),
            Err(error) => Self::from_ureq(url, ureq::Error::Io(error), timeout),
        }
    }
}

fn advice(status: u16, hint: &str) -> String {
    let words = match status {
        401 => " (not authenticated)",
        403 => " (refused)",
        404 | 410 => " (not found)",
        416 => " (no such range)",
        429 => " (too many requests)",
        500.. => " (its own fault)",
        _ => "",
    };
    let default = match status {
        401 | 403 => "check the address and that your credentials allow reading",
        404 | 410 => "check the address",
        429 | 500.. => "try again later",
        _ => "check the address",
    };
    format!("{words}; {}", if hint.is_empty() { default } else { hint })
}
