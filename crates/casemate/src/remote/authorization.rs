//! Who asks: nobody, a bearer of a token, somebody with a password, or an AWS identity.
//!
//! Credentials are [`Secret`]s from the environment or Docker's file; [`super::client`] adds them to a request only while
//! it goes to the origin they are for.

use std::sync::Arc;

use casemate_core::{Clock as _, Secret, SystemClock};

use super::registry_token::RegistryToken;
use super::sigv4::Signer;
use super::url::Url;

/// Who asks.
#[derive(Clone, Debug, Default)]
pub enum Authorization {
    /// Nobody in particular.
    #[default]
    None,
    /// The bearer of a token.
    Bearer(Secret<String>),
    /// A user with a password, both in base64 after `Basic `.
    Basic(Secret<String>),
    /// The bearer of a token that one repository of a registry gave, and gives again when it expires.
    Registry(Arc<RegistryToken>),
    /// An AWS identity, signing each request anew.
    Aws(Arc<Signer>),
}

impl Authorization {
    /// Header fields for a GET of `url` now.
    pub fn headers(&self, url: &Url) -> Vec<(&'static str, Secret<String>)> {
        match self {
            Self::None => Vec::new(),
            Self::Bearer(token) => vec![("authorization", Secret::new(format!("Bearer {}", token.expose())))],
            Self::Basic(value) => vec![("authorization", value.clone())],
            Self::Registry(token) => token.value().map(|value| ("authorization", value)).into_iter().collect(),
            Self::Aws(signer) => signer.headers(url, SystemClock.now()),
        }
    }
}
