//! Time stamps over tree heads: what a time-stamping authority says existed when.
//!
//! Answers an owner who rewrites a ledger and dates it back. Source: RFC 3161 with RFC 5816. A request asks for a stamp on the
//! SHA-256 of a message, with a nonce and for the authority's certificates; a response is believed when it is granted, is about
//! that message and nonce, and its signature ([`token`]) leads to a root that is trusted. Sending is left to whoever likes:
//! `curl --data-binary @request.tsq -H 'content-type: application/timestamp-query' …`.

mod token;

use aws_lc_rs::rand;
use casemate_core::{Digest, Timestamp};

use crate::hash::sha256;
use crate::keys::certificate;
use crate::keys::der::{
    BOOLEAN, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, element,
};
use token::SignedData;

/// Bytes a request or response may have.
pub const BYTES_MAX: usize = 1 << 20;

/// 2.16.840.1.101.3.4.2.1.
const SHA_256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// The `NULL` parameters of a hash algorithm.
const NULL: &[u8] = &[0x05, 0x00];
/// How far an authority's clock may run ahead of this one.
const CLOCK_MS_MAX: i64 = 5 * 60 * 1000;

/// What is asked of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// SHA-256 of the message.
    pub imprint: Digest,
    /// Number that the answer repeats, as the bytes of a positive INTEGER.
    pub nonce: Vec<u8>,
}

/// What an authority answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 0 and 1 are granted, everything else is a refusal.
    pub status: u32,
    /// The stamp, where it was granted.
    token: Option<(Info, SignedData)>,
}

/// What a stamp says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// SHA-256 of the message.
    pub imprint: Digest,
    /// When.
    pub time: Timestamp,
    /// The number of the request.
    pub nonce: Option<Vec<u8>>,
}

/// A stamp that fits its message and request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When the message existed.
    pub time: Timestamp,
    /// Who says so: names of the authority's certificate; `None` where no roots were given, and the signature is unchecked.
    pub signer: Option<String>,
}

/// Why a stamp proves nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Not of the form of a request or response.
    #[error("time stamp is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The authority refused.
    #[error("the authority did not grant a time stamp (status {status})")]
    Refused {
        /// PKIStatus.
        status: u32,
    },
    /// About another message.
    #[error("the time stamp is about another message")]
    OtherMessage,
    /// An answer to another request.
    #[error("the time stamp answers another request: its nonce differs")]
    OtherRequest,
    /// Of the future.
    #[error("the time stamp is of {time}, which is still to come")]
    Future {
        /// What it says.
        time: Timestamp,
    },
    /// The authority's signature or certificates.
    #[error("the time stamp's signature: {0}")]
    Signature(String),
}

fn malformed(what: &'static str) -> Error {
    Error::Malformed { what }
}

impl Request {
    /// Asks about `message`, with a nonce from the system's random generator; `None` without randomness.
    pub fn ask(message: &[u8]) -> Option<Self> {
        let mut random = [0; 8];
        rand::fill(&mut random).ok()?;
        Some(Self::new(message, random))
    }

    /// Asks about `message`, with `random` as nonce.
    pub fn new(message: &[u8], random: [u8; 8]) -> Self {
        let mut nonce = random.to_vec();
        // A positive INTEGER in its shortest form.
        if let Some(first) = nonce.first_mut() {
            *first = *first & 0x3f | 0x40;
        }
        Self { imprint: sha256(message), nonce }
    }

    /// The request in DER, version 1, with `certReq`.
    pub fn to_der(&self) -> Vec<u8> {
        let algorithm = element(SEQUENCE, &[element(OBJECT_IDENTIFIER, SHA_256), NULL.to_vec()].concat());
        let imprint = element(SEQUENCE, &[algorithm, element(OCTET_STRING, &self.imprint.0)].concat());
        let fields = [element(INTEGER, &[1]), imprint, element(INTEGER, &self.nonce), element(BOOLEAN, &[0xff])];
        element(SEQUENCE, &fields.concat())
    }

    /// Reads a request that asks for SHA-256 with a nonce, as [`Request::to_der`] writes it.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(der: &[u8]) -> Result<Self, Error> {
        let read = || {
            let mut request = Reader(der).inside(SEQUENCE)?;
            (request.number()? == 1).then_some(())?;
            let imprint = imprint(&mut request)?;
            request.value(OBJECT_IDENTIFIER);
            Some(Self { imprint, nonce: request.value(INTEGER)?.to_vec() })
        };
        read().filter(|_| der.len() <= BYTES_MAX).ok_or(malformed("not a request"))
    }
}

impl Response {
    /// Reads a response.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn parse(der: &[u8]) -> Result<Self, Error> {
        if der.len() > BYTES_MAX {
            return Err(malformed("longer than 1 MiB"));
        }
        let mut outer = Reader(der);
        let mut response = outer.inside(SEQUENCE).ok_or(malformed("not a response"))?;
        let status = response.inside(SEQUENCE).and_then(|mut status| status.number()).ok_or(malformed("no status"))?;
        if !outer.0.is_empty() {
            return Err(malformed("bytes behind its end"));
        }
        if response.0.is_empty() {
            return Ok(Self { status, token: None });
        }
        let signed = SignedData::parse(&mut response)?;
        let info = Info::parse(&signed.content).ok_or(malformed("not about a SHA-256, or without a time"))?;
        Ok(Self { status, token: Some((info, signed)) })
    }

    /// What it says about `message`, asked for by `request`; its signature is checked where `roots` are given, DER.
    ///
    /// # Errors
    /// [`Error`], each way in which it says nothing.
    pub fn verify(
        &self,
        request: &Request,
        message: &[u8],
        roots: Option<&[Vec<u8>]>,
        now: Timestamp,
    ) -> Result<Stamp, Error> {
        let Some((info, signed)) = self.token.as_ref().filter(|_| self.status <= 1) else {
            return Err(Error::Refused { status: self.status });
        };
        let imprint = sha256(message);
        if info.imprint != imprint || request.imprint != imprint {
            return Err(Error::OtherMessage);
        }
        if info.nonce.as_ref() != Some(&request.nonce) {
            return Err(Error::OtherRequest);
        }
        if info.time.unix_ms() > now.unix_ms().saturating_add(CLOCK_MS_MAX) {
            return Err(Error::Future { time: info.time });
        }
        let signer = roots.map(|roots| signed.verify(roots, info.time)).transpose().map_err(Error::Signature)?;
        Ok(Stamp { time: info.time, signer })
    }
}

impl Info {
    /// Reads a TSTInfo (RFC 3161, section 2.4.2).
    fn parse(der: &[u8]) -> Option<Self> {
        let mut outer = Reader(der);
        let mut info = outer.inside(SEQUENCE)?;
        (outer.0.is_empty() && info.number()? == 1).then_some(())?;
        info.value(OBJECT_IDENTIFIER)?;
        let imprint = imprint(&mut info)?;
        info.value(INTEGER)?;
        let time = time(info.value(GENERALIZED_TIME)?)?;
        info.value(SEQUENCE);
        info.value(BOOLEAN);
        let nonce = info.value(INTEGER).map(<[u8]>::to_vec);
        Some(Self { imprint, time, nonce })
    }
}

/// A MessageImprint over SHA-256.
fn imprint(reader: &mut Reader<'_>) -> Option<Digest> {
    let mut imprint = reader.inside(SEQUENCE)?;
    let is_sha_256 = imprint.inside(SEQUENCE)?.value(OBJECT_IDENTIFIER)? == SHA_256;
    let digest = imprint.value(OCTET_STRING)?.try_into().ok()?;
    is_sha_256.then_some(Digest(digest))
}

/// A GeneralizedTime, which here may have a fraction of a second; that is cut off.
fn time(text: &[u8]) -> Option<Timestamp> {
    let (whole, rest) = text.split_at_checked(14)?;
    let fraction = rest.strip_suffix(b"Z")?;
    let is_fraction = fraction.is_empty()
        || fraction
            .strip_prefix(b".")
            .is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit));
    let whole = element(GENERALIZED_TIME, &[whole, b"Z"].concat());
    is_fraction.then(|| certificate::time(&mut Reader(&whole))).flatten()
}

#[cfg(test)]
mod tests;
