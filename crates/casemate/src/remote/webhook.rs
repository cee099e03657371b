//! Posting an event to a web address its owner named.
//!
//! What is sent names files and digests of a model, so plain HTTP goes to this machine alone, and nothing is sent on to where
//! an answer redirects. Each try has an end; trying again is the caller's.

use std::time::Duration;

use super::client::{Client, ClientSettings};
use super::url::Url;
use crate::exit::Failure;

/// Longest wait to connect, to send, and for the head of the answer, each.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A web address that takes events.
pub struct Webhook {
    client: Client,
    url: Url,
}

impl Webhook {
    /// Reads the address.
    ///
    /// # Errors
    /// When it is none, or plain HTTP to another machine.
    pub fn parse(address: &str) -> Result<Self, Failure> {
        let named = |what: &str| Failure::usage(format!("--webhook `{}` {what}", super::shown(address)));
        let url = Url::parse(address).map_err(|error| named(&error.to_string()))?;
        if !url.is_secure && !url.is_loopback() {
            return Err(named("is not encrypted, and what is sent names your model's files; use https://"));
        }
        Ok(Self { client: Client::new(ClientSettings { allow_http: false, timeout: TIMEOUT }), url })
    }

    /// The address without what may be secret in it.
    pub fn shown(&self) -> String {
        self.url.shown()
    }

    /// Posts `body`, one JSON text.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn post(&self, body: &[u8]) -> Result<(), String> {
        let status = self.client.post_json(&self.url, body).map_err(|error| error.to_string())?;
        match status {
            200..=299 => Ok(()),
            300..=399 => Err(format!("the server answered {status}; name the address it redirects to")),
            status => Err(format!("the server answered {status}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_this_machine_alone() {
        for good in ["https://example.org/hook?key=1", "http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]:9/"]
        {
            assert!(Webhook::parse(good).is_ok(), "{good}");
        }
        for bad in ["http://example.org/", "http://10.0.0.1/", "ftp://x/", "x", "https://ada:pw@example.org/"] {
            assert!(Webhook::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Webhook::parse("https://example.org/hook?key=1").unwrap().shown(), "https://example.org/hook");
    }
}
