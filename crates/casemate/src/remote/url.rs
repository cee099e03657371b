//! Web addresses: read, joined with the target of a redirect, and shown without what may be secret in them.
//!
//! The threat is a server that sends us elsewhere: to plain HTTP, or to an address inside the network the scan runs in
//! (a metadata service, a router). Which addresses are public follows the IANA special-purpose registries (RFC 6890).
//! Escapes and dot segments are passed on as they were written; nothing here becomes a path on this machine.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest address read; longer ones are no address of a file.
const BYTES_MAX: usize = 8 << 10;

/// An absolute `http` or `https` address, without user name and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether it is `https`.
    pub is_secure: bool,
    /// Host name or address, an IPv6 address in brackets.
    pub host: String,
    /// Port, where one is named.
    pub port: Option<u16>,
    /// Path, beginning with `/`, escaped.
    pub path: String,
    /// Query, without `?`, escaped.
    pub query: Option<String>,
}

/// Why a text is no address of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Neither `http` nor `https`.
    #[error("is neither http:// nor https://")]
    Scheme,
    /// Nothing between `//` and the path, or something that is no host.
    #[error("names no host")]
    Host,
    /// A port that is none.
    #[error("names a port that is none")]
    Port,
    /// `user:password@` in front of the host.
    #[error("carries a user name; credentials in an address end up in logs and reports")]
    UserName,
    /// Too long.
    #[error("is longer than 8 KiB")]
    Length,
}

impl Url {
    /// Reads an absolute address; bytes that may not stand in one are escaped.
    ///
    /// # Errors
    /// When it is none, or carries credentials.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > BYTES_MAX {
            return Err(Error::Length);
        }
        let (scheme, rest) = text.split_once("://").ok_or(Error::Scheme)?;
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(Error::Scheme),
        };
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if authority.contains('@') {
            return Err(Error::UserName);
        }
        let (host, port) = host_and_port(authority)?;
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let path = if path.is_empty() { "/".into() } else { escape(path, is_reserved) };
        Ok(Self { is_secure, host, port, path, query: query.map(|query| escape(query, is_reserved)) })
    }

    /// The address `target` names, seen from this one.
    ///
    /// # Errors
    /// When it is no address.
    pub fn join(&self, target: &str) -> Result<Self, Error> {
        let scheme = if self.is_secure { "https" } else { "http" };
        let text = match target {
            // A scheme stands before any slash or question mark.
            _ if target.split(['/', '?', '#']).next().is_some_and(|start| start.contains(':')) => target.to_owned(),
            _ if target.starts_with("//") => format!("{scheme}:{target}"),
            _ if target.starts_with('/') => format!("{}{target}", self.origin()),
            _ if target.starts_with('?') => format!("{}{}{target}", self.origin(), self.path),
            _ => {
                let directory = self.path.rsplit_once('/').map_or("", |(directory, _)| directory);
                format!("{}{directory}/{target}", self.origin())
            }
        };
        Self::parse(&text)
    }

    /// The same host with another path and query, both escaped already.
    #[must_use]
    pub fn at(&self, path: &str, query: Option<String>) -> Self {
        Self { path: path.to_owned(), query, ..self.clone() }
    }

    /// Scheme, host and port: what credentials are bound to.
    pub fn origin(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// Host and port, the latter where it is not the scheme's own.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) if port != self.default_port() => format!("{}:{port}", self.host),
            _ => self.host.clone(),
        }
    }

    /// The address without its query, which may hold a signature.
    pub fn shown(&self) -> String {
        format!("{}{}", self.origin(), self.path)
    }

    /// Port, named or not.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(self.default_port())
    }

    /// The address in numbers, where the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// Whether the host is this machine by name or number.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    fn default_port(&self) -> u16 {
        if self.is_secure { 443 } else { 80 }
    }
}

impl fmt::Display for Url {
    /// The whole address, query included: for the wire, not for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())?;
        self.query.as_ref().map_or(Ok(()), |query| write!(f, "?{query}"))
    }
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), Error> {
    let bracket = authority.find(']').map_or(0, |at| at + 1);
    let (host, port) = match authority.get(bracket..).and_then(|rest| rest.split_once(':')) {
        Some((rest, port)) => (&authority[..bracket + rest.len()], Some(port)),
        None => (authority, None),
    };
    let host = host.to_ascii_lowercase();
    let is_name = |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && is_name(&host),
    };
    let port = port.map(|port| port.parse().map_err(|_| Error::Port)).transpose()?;
    if is_host { Ok((host, port)) } else { Err(Error::Host) }
}

/// Escapes every byte of `text` that is neither unreserved (RFC 3986, 2.3) nor passed by `keep`.
pub fn escape(text: &str, keep: fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ if keep(byte) => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Escapes the name of a file below a path: `/` separates, everything else is a letter.
pub fn escape_path(name: &str) -> String {
    escape(name, |byte| byte == b'/')
}

/// What escapes stand for; bytes that are no UTF-8 are replaced, an escape that is none stays as it is.
pub fn unescape(text: &str) -> String {
    let digit =
        |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).and_then(|n| u8::try_from(n).ok());
    let bytes = text.as_bytes();
    let (mut plain, mut i) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(i) {
        match (*byte, digit(bytes.get(i + 1)), digit(bytes.get(i + 2))) {
            (b'%', Some(high), Some(low)) => {
                plain.push(high << 4 | low);
                i += 3;
            }
            (byte, ..) => {
                plain.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

fn is_reserved(byte: u8) -> bool {
    b"/:@!$&'()*+,;=?%[]".contains(&byte)
}

/// Whether packets to `ip` leave the networks of this site: neither private, nor this machine, nor reserved.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = match (a, b) {
        (0 | 10 | 127 | 224..=255, _) | (169, 254) | (192, 168) => true,
        // Carrier-grade NAT, and the range for benchmarks.
        (100, 64..=127) | (172, 16..=31) | (198, 18 | 19) => true,
        (192, 0) => matches!(c, 0 | 2),
        (198, 51) => c == 100,
        (203, 0) => c == 113,
        _ => false,
    };
    !is_special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let [high, low] = [g.to_be_bytes(), h.to_be_bytes()];
    let v4 = |[a, b]: [u8; 2], [c, d]: [u8; 2]| is_public_v4(Ipv4Addr::new(a, b, c, d));
    match [a, b, c, d, e, f] {
        // Addresses that carry an IPv4 address: mapped, compatible (loopback among them), NAT64, 6to4.
        [0, 0, 0, 0, 0, 0xffff | 0] | [0x64, 0xff9b, 0, 0, 0, 0] => v4(high, low),
        [0x2002, ..] => v4(b.to_be_bytes(), c.to_be_bytes()),
        // Documentation and Teredo; everything else outside 2000::/3 is local, multicast or reserved.
        [0x2001, 0 | 0xdb8, ..] => false,
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_their_query() {
        let url = Url::parse("HTTPS://Example.org:8443/a b/c?sig=secret#part").unwrap();
        assert_eq!(url.to_string(), "https://example.org:8443/a%20b/c?sig=secret");
        assert_eq!(url.shown(), "https://example.org:8443/a%20b/c");
        assert_eq!(Url::parse("http://[::1]:80/").unwrap().origin(), "http://[::1]");
        assert_eq!(Url::parse("https://h").unwrap().path, "/");
        for (text, error) in [
            ("ftp://h/", Error::Scheme),
            ("h/path", Error::Scheme),
            ("https:///path", Error::Host),
            ("https://h\u{e4}st/", Error::Host),
            ("https://[zz]/", Error::Host),
            ("https://h:99999/", Error::Port),
            ("https://me:secret@h/", Error::UserName),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
        assert_eq!(Url::parse(&format!("https://h/{}", "a".repeat(9000))), Err(Error::Length));
    }

    #[test]
    fn redirect_targets_are_seen_from_where_they_were_met() {
        let base = Url::parse("https://h:1/a/b?q").unwrap();
        let join = |target: &str| base.join(target).map(|url| url.to_string()).unwrap_or_default();
        assert_eq!(join("http://o/x:y"), "http://o/x:y");
        assert_eq!(join("//o/x"), "https://o/x");
        assert_eq!(join("/x?y=http://z"), "https://h:1/x?y=http://z");
        assert_eq!(join("x"), "https://h:1/a/x");
        assert_eq!(join("?z"), "https://h:1/a/b?z");
        assert_eq!(join("file:///etc/passwd"), "");
        assert_eq!(join("javascript:alert(1)"), "");
    }

    #[test]
    fn addresses_inside_a_site_are_told_from_public_ones() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001:db8::1",
            "::7f00:1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1", "::ffff:8.8.8.8"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn escapes_go_there_and_back() {
        let name = "dir/a b+c%\u{e9}?.bin";
        assert_eq!(escape_path(name), "dir/a%20b%2Bc%25%C3%A9%3F.bin");
        assert_eq!(unescape(&escape_path(name)), name);
        assert_eq!(unescape("100%"), "100%");
        assert_eq!(unescape("%zz%4"), "%zz%4");
    }
}
