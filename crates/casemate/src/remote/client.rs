//! The HTTP client: certificates, time limits, redirects, retries.
//!
//! The servers are not trusted further than that they answer. A redirect may not lead from https to http, nor from a
//! public host to an address inside this site, judged by the address connected to and not by the name (RFC 9110, 15.4;
//! SSRF). Credentials stay with the origin they were given for. TLS, HTTP and their parsing are rustls and ureq; nothing
//! of them is set up before the first request.
//!
//! A proxy (`HTTPS_PROXY`) resolves names itself; then only addresses written as numbers can be told to lie inside.
//!
//! Key services are asked through [`Client::ask`]: no redirect is followed, since the request carries a token.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::ToSocketAddrs as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use casemate_core::Secret;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::config::Config;
use ureq::http::{HeaderMap, HeaderValue, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Proxy};

use super::authorization::Authorization;
use super::error::Error;
use super::url::{Url, is_public};
use crate::context::INTERRUPTED;

/// Redirects followed; model hubs need two.
const REDIRECTS_MAX: usize = 5;

/// Times a request that failed on the way is made again, and the first pause before it; each further pause is twice as long.
const RETRIES_MAX: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// How to speak to servers.
#[derive(Clone, Copy, Debug)]
pub struct ClientSettings {
    /// Whether `http://` to other machines is allowed.
    pub allow_http: bool,
    /// Longest wait for a connection, for the head of an answer, and for its body.
    pub timeout: Duration,
}

/// Makes requests.
pub struct Client {
    settings: ClientSettings,
    /// File of the only authorities to trust; the system's where there is none.
    authorities: Option<PathBuf>,
    agents: OnceLock<Result<Agents, String>>,
    /// Whether a host is public, by host and port.
    public: Mutex<HashMap<(String, u16), bool>>,
    bytes: AtomicU64,
    requests: AtomicU64,
}

struct Agents {
    anywhere: Agent,
    public_only: Agent,
    proxy: Option<Proxy>,
}

/// A request to a service that is asked things, and given secrets, rather than read.
pub struct Request<'a> {
    /// Where to.
    pub url: &'a Url,
    /// Header fields.
    pub headers: Vec<(&'static str, Secret<String>)>,
    /// Body of a POST; a GET has none.
    pub body: Option<&'a [u8]>,
}

/// The head of an answer, its body yet unread.
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// Where it came from, redirects followed.
    pub url: Url,
    body: ureq::Body,
}

impl Client {
    /// A client that has opened nothing yet.
    pub fn new(settings: ClientSettings) -> Self {
        Self {
            settings,
            authorities: None,
            agents: OnceLock::new(),
            public: Mutex::default(),
            bytes: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        }
    }

    /// The same, trusting the authorities in the PEM file `authorities` and no others.
    #[must_use]
    pub fn with_authorities(self, authorities: Option<PathBuf>) -> Self {
        Self { authorities, ..self }
    }

    /// Bytes of bodies received so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Requests made so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Gets `url`, following redirects, with `headers`; whatever status came in the end is the caller's to judge.
    ///
    /// # Errors
    /// When there was no answer, or it led where it may not lead.
    pub fn get(&self, url: &Url, headers: &[(&str, &str)], authorization: &Authorization) -> Result<Response, Error> {
        self.get_from(url, url, headers, authorization)
    }

    /// As [`Self::get`], for an address that `origin` named: it is held to the same rules as a redirect.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_from(
        &self,
        origin: &Url,
        url: &Url,
        headers: &[(&str, &str)],
        authorization: &Authorization,
    ) -> Result<Response, Error> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            self.require_allowed(origin, &at)?;
            let own = if at.origin() == url.origin() { authorization } else { &Authorization::None };
            let response = self.once(origin, &at, headers, own)?;
            if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let Some(target) = response.header("location") else { return Ok(response) };
            at = at
                .join(target)
                .map_err(|error| Error::Redirect { from: at.shown(), what: format!("to something that {error}") })?;
        }
        Err(Error::Redirect { from: url.shown(), what: format!("more than {REDIRECTS_MAX} times") })
    }

    /// Asks once, and again where an answer on the way was lost or the service was busy: for requests that change nothing there.
    /// A redirect is an answer like any other. A service on this machine is not asked through a proxy.
    ///
    /// # Errors
    /// When there was no answer.
    pub fn ask(&self, request: &Request<'_>) -> Result<Response, Error> {
        self.require_allowed(request.url, request.url)?;
        self.retrying(
            || self.attempt_to_ask(request),
            |result| match result {
                Ok(response) => matches!(response.status, 429 | 500 | 502 | 504),
                Err(error) => error.is_transient(),
            },
        )
    }

    fn attempt_to_ask(&self, request: &Request<'_>) -> Result<Response, Error> {
        let (agent, url) = (&self.agents()?.anywhere, request.url);
        self.requests.fetch_add(1, Relaxed);
        let proxy = if url.is_loopback() { None } else { self.agents()?.proxy.clone() };
        let mut fields = HeaderMap::new();
        for (name, value) in &request.headers {
            // Says nothing of the value, which may be a secret.
            let broken =
                |_| Error::Listing { url: url.shown(), what: format!("the value for `{name}` fits no header") };
            fields.insert(*name, HeaderValue::from_str(value.expose()).map_err(broken)?);
        }
        let answer = match request.body {
            Some(body) => {
                let mut post = agent.post(url.to_string()).config().proxy(proxy).build();
                post.headers_mut().into_iter().for_each(|headers| headers.extend(fields.clone()));
                post.header("accept-encoding", "identity").send(body)
            }
            None => {
                let mut get = agent.get(url.to_string()).config().proxy(proxy).build();
                get.headers_mut().into_iter().for_each(|headers| headers.extend(fields.clone()));
                get.header("accept-encoding", "identity").call()
            }
        };
        let (head, body) = answer.map_err(|error| Error::from_ureq(url, error, self.settings.timeout))?.into_parts();
        Ok(Response { status: head.status.as_u16(), headers: head.headers, url: url.clone(), body })
    }

    /// Posts `body` as JSON to `url`, once and without following redirects; the status that came.
    ///
    /// # Errors
    /// When there was no answer, or it may not be sent there.
    pub fn post_json(&self, url: &Url, body: &[u8]) -> Result<u16, Error> {
        self.require_allowed(url, url)?;
        self.requests.fetch_add(1, Relaxed);
        let request = self.agents()?.anywhere.post(url.to_string()).header("content-type", "application/json");
        let answer = request.send(body).map_err(|error| Error::from_ureq(url, error, self.settings.timeout))?;
        Ok(answer.status().as_u16())
    }

    /// Counts `n` bytes of a body.
    pub fn count(&self, n: u64) {
        self.bytes.fetch_add(n, Relaxed);
    }

    fn require_allowed(&self, origin: &Url, url: &Url) -> Result<(), Error> {
        let elsewhere =
            |what: &str| Error::Redirect { from: origin.shown(), what: format!("{what} ({})", url.shown()) };
        if !url.is_secure && origin.is_secure {
            return Err(elsewhere("from https to http"));
        }
        if !url.is_secure && !url.is_loopback() && !self.settings.allow_http {
            return Err(Error::Insecure { url: url.shown() });
        }
        if url.ip().is_some_and(|ip| !is_public(ip)) && self.is_public(origin)? {
            return Err(elsewhere("to an address inside this network"));
        }
        Ok(())
    }

    /// One request without redirects; made again when it failed on the way.
    fn once(
        &self,
        origin: &Url,
        url: &Url,
        headers: &[(&str, &str)],
        authorization: &Authorization,
    ) -> Result<Response, Error> {
        self.retrying(
            || self.attempt(origin, url, headers, authorization),
            |result| match result {
                Ok(response) => matches!(response.status, 429 | 500 | 502 | 503 | 504),
                Err(error) => error.is_transient(),
            },
        )
    }

    /// Does `work`, again after a pause while `is_transient` says so of its result.
    ///
    /// # Errors
    /// What the last try gave, or that Ctrl-C was pressed.
    pub fn retrying<T>(
        &self,
        work: impl Fn() -> Result<T, Error>,
        is_transient: impl Fn(&Result<T, Error>) -> bool,
    ) -> Result<T, Error> {
        let mut pause = RETRY_PAUSE;
        for _ in 0..RETRIES_MAX {
            require_uninterrupted()?;
            let result = work();
            if !is_transient(&result) {
                return result;
            }
            thread::sleep(pause);
            pause *= 2;
        }
        require_uninterrupted()?;
        work()
    }

    fn attempt(
        &self,
        origin: &Url,
        url: &Url,
        headers: &[(&str, &str)],
        authorization: &Authorization,
    ) -> Result<Response, Error> {
        let agents = self.agents()?;
        let agent = if self.is_public(origin)? { &agents.public_only } else { &agents.anywhere };
        self.requests.fetch_add(1, Relaxed);
        // What is judged is what lies there; an encoding would make ranges mean something else.
        let mut request = agent.get(url.to_string()).header("accept-encoding", "identity");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        for (name, value) in authorization.headers(url) {
            request = request.header(name, value.expose());
        }
        let answer = request.call().map_err(|error| Error::from_ureq(url, error, self.settings.timeout))?;
        let (head, body) = answer.into_parts();
        Ok(Response { status: head.status.as_u16(), headers: head.headers, url: url.clone(), body })
    }

    /// Whether a host lies outside this site; asked once for each.
    fn is_public(&self, url: &Url) -> Result<bool, Error> {
        if let Some(ip) = url.ip() {
            return Ok(is_public(ip));
        }
        if url.host == "localhost" {
            return Ok(false);
        }
        let key = (url.host.clone(), url.port());
        if let Some(known) = self.public.lock().ok().and_then(|public| public.get(&key).copied()) {
            return Ok(known);
        }
        // Behind a proxy names may be unknown here; such a host is then held to the strict rules.
        let found = (url.host.as_str(), url.port()).to_socket_addrs();
        let is_public = match found {
            Ok(mut found) => found.all(|address| is_public(address.ip())),
            Err(_) if self.is_proxied(url)? => true,
            Err(_) => return Err(Error::HostNotFound { host: url.host.clone() }),
        };
        if let Ok(mut public) = self.public.lock() {
            public.insert(key, is_public);
        }
        Ok(is_public)
    }

    fn is_proxied(&self, url: &Url) -> Result<bool, Error> {
        let uri = url.to_string().parse::<Uri>().ok();
        let proxy = self.agents()?.proxy.as_ref();
        Ok(proxy.zip(uri).is_some_and(|(proxy, uri)| !proxy.is_no_proxy(&uri)))
    }

    fn agents(&self) -> Result<&Agents, Error> {
        let agents = self.agents.get_or_init(|| build(self.settings.timeout, self.authorities.as_deref()));
        agents.as_ref().map_err(|what| Error::Certificates { what: what.clone() })
    }
}

impl Response {
    /// A header field, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A header field that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }

    /// The body, of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// When it does not arrive, is longer, or is encoded.
    pub fn body(self, client: &Client, bytes_max: u64) -> Result<Vec<u8>, Error> {
        if let Some(encoding) = self.header("content-encoding").filter(|encoding| *encoding != "identity") {
            return Err(Error::Encoded { url: self.url.shown(), encoding: encoding.into() });
        }
        let url = self.url.shown();
        let mut bytes = Vec::new();
        let mut piece = vec![0; 64 << 10];
        // Some errors of ureq come wrapped as errors of reading; they are given back as what they were.
        let mut reader = self.body.into_with_config().limit(bytes_max.saturating_add(1)).reader();
        loop {
            require_uninterrupted()?;
            let n = match reader.read(&mut piece) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::from_body(&self.url, error, bytes_max, client.settings.timeout)),
            };
            client.count(n as u64);
            bytes.extend_from_slice(piece.get(..n).unwrap_or_default());
            if bytes.len() as u64 > bytes_max {
                return Err(Error::TooLong { url, bytes_max });
            }
            if n == 0 {
                return Ok(bytes);
            }
        }
    }
}

/// # Errors
/// When Ctrl-C was pressed.
fn require_uninterrupted() -> Result<(), Error> {
    if INTERRUPTED.load(Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}

fn build(timeout: Duration, authorities: Option<&Path>) -> Result<Agents, String> {
    let proxy = Proxy::try_from_env();
    let config = Agent::config_builder()
        .tls_config(tls(authorities)?)
        .proxy(proxy.clone())
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("casemate/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(timeout))
        .timeout_connect(Some(timeout))
        .timeout_send_request(Some(timeout))
        .timeout_recv_response(Some(timeout))
        .timeout_recv_body(Some(timeout))
        .max_idle_connections(64)
        .max_idle_connections_per_host(16)
        .build();
    Ok(Agents {
        anywhere: Agent::with_parts(config.clone(), DefaultConnector::default(), DefaultResolver::default()),
        public_only: Agent::with_parts(config, DefaultConnector::default(), PublicOnly::default()),
        proxy,
    })
}

/// The cryptography of connections; [`crate::crypto`] lists what it offers.
pub fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// The certificates of `authorities`, or those this machine trusts: `SSL_CERT_FILE`, `SSL_CERT_DIR`, or the system's.
fn tls(authorities: Option<&Path>) -> Result<TlsConfig, String> {
    let found = match authorities {
        Some(path) => named(path)?,
        None => {
            let found = rustls_native_certs::load_native_certs();
            if found.certs.is_empty() {
                let why: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
                return Err(if why.is_empty() { "there are none".into() } else { why.join("; ") });
            }
            found.certs
        }
    };
    let roots: Vec<Certificate<'static>> =
        found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(provider()))
        .build())
}

/// The certificates in the PEM file at `path`.
fn named(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |what: &dyn std::fmt::Display| format!("`{}`: {what}", path.display());
    let text = crate::small_file::read(path)?;
    let found = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    match found.map_err(|error| wrong(&error))? {
        found if found.is_empty() => Err(wrong(&"holds no certificate")),
        found => Ok(found),
    }
}

/// Finds public addresses only, whatever the name server says: what a redirect from outside may lead to.
#[derive(Debug, Default)]
struct PublicOnly(DefaultResolver);

impl Resolver for PublicOnly {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.0.resolve(uri, config, timeout)?;
        // The proxy is named by whoever runs the scan, and may well stand inside.
        if config.proxy().is_some_and(|proxy| Some(proxy.host()) == uri.host()) {
            return Ok(found);
        }
        match found.iter().all(|address| is_public(address.ip())) {
            true => Ok(found),
            false => Err(ureq::Error::Other(Box::new(Inside))),
        }
    }
}

/// A public host led to an address inside this network.
#[derive(Debug, thiserror::Error)]
#[error("leads to an address inside this network")]
pub struct Inside;

#[cfg(test)]
mod tests {
    use super::*;

    fn client(allow_http: bool) -> Client {
        Client::new(ClientSettings { allow_http, timeout: Duration::from_secs(1) })
    }

    #[test]
    fn a_public_host_leads_neither_inside_nor_away_from_encryption() {
        let hop = |allow_http, from: &str, to: &str| {
            client(allow_http).require_allowed(&Url::parse(from).unwrap(), &Url::parse(to).unwrap())
        };
        for (from, to) in [
            ("https://8.8.8.8/", "https://8.8.4.4/x"),
            ("https://10.0.0.1/", "https://10.0.0.2/x"),
            ("https://10.0.0.1/", "https://8.8.8.8/x"),
            ("http://127.0.0.1:1/", "http://127.0.0.1:2/"),
        ] {
            assert!(hop(false, from, to).is_ok(), "{from} {to}");
        }
        for (from, to) in [
            ("https://8.8.8.8/", "https://10.0.0.1/x"),
            ("https://8.8.8.8/", "https://169.254.169.254/latest/meta-data"),
            ("https://8.8.8.8/", "https://[::1]/x"),
            ("https://8.8.8.8/", "https://[::ffff:10.0.0.1]/x"),
            ("https://8.8.8.8/", "http://8.8.8.8/x"),
            ("http://8.8.8.8/", "http://127.0.0.1/x"),
        ] {
            assert!(matches!(hop(true, from, to), Err(Error::Redirect { .. })), "{from} {to}");
        }
        assert!(matches!(hop(false, "http://8.8.8.8/", "http://8.8.8.8/"), Err(Error::Insecure { .. })));
        assert!(hop(true, "http://8.8.8.8/", "http://8.8.8.8/").is_ok());
    }

    #[test]
    fn a_name_that_stands_for_this_machine_is_not_connected_to_from_outside() {
        let agents = build(Duration::from_secs(1), None).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = Url::parse(&format!("http://localhost:{}/", listener.local_addr().unwrap().port())).unwrap();
        let error = agents.public_only.get(url.to_string()).call().unwrap_err();
        let error = Error::from_ureq(&url, error, Duration::from_secs(1));
        assert!(error.to_string().contains("inside this network"), "{error}");
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nobody came");
    }

    #[test]
    fn nothing_is_set_up_before_the_first_request() {
        assert!(client(false).agents.get().is_none());
    }
}
