//! The fields of an X.509 certificate that decide what its key may sign, and for whom.
//!
//! Paths and signatures are webpki's business; it takes any purpose and identity, and believes an expired root. What it
//! leaves out is read here: purpose, key usage, whether it is an authority, dates, names. Source: RFC 5280, section 4.

use std::path::Path;

use casemate_core::Timestamp;

use super::der::{
    BIT_STRING, BOOLEAN, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, SET, UTC_TIME,
};
use super::signing::VerifyingKey;
use super::{Error, pem};

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];
/// id-kp-timeStamping.
pub(crate) const TIME_STAMPING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];

/// Entries of one extension that are read; a certificate with more is refused.
const ENTRIES_MAX: usize = 1024;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// First and last moment of its validity.
    pub validity: [Timestamp; 2],
    /// Its key, where it is of a kind that signs models.
    pub key: Option<VerifyingKey>,
    /// Common name of its subject.
    pub common_name: Option<String>,
    /// E-mail addresses, URIs and host names it was made for; `None` without such an extension.
    pub alternative_names: Option<Vec<String>>,
    /// Whether its key may make digital signatures; true where nothing restricts its use.
    pub may_sign: bool,
    /// Whether it is for signing code, by name and not by being for everything.
    pub for_code: bool,
    /// Whether it is for time stamps and nothing else (RFC 3161, section 2.3).
    pub for_time_stamps: bool,
    /// Whether it is an authority.
    pub is_authority: bool,
}

impl Certificate {
    /// Reads a certificate; `None` when it is malformed or repeats an extension.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let mut outer = Reader(der);
        let mut body = outer.inside(SEQUENCE)?.inside(SEQUENCE)?;
        if !outer.0.is_empty() {
            return None;
        }
        // Version 1 has no extensions to restrict it, and no version field.
        body.value(0xa0)?;
        body.value(INTEGER)?;
        body.value(SEQUENCE)?;
        body.value(SEQUENCE)?;
        let mut validity = body.inside(SEQUENCE)?;
        let validity = [time(&mut validity)?, time(&mut validity)?];
        let subject = body.inside(SEQUENCE)?;
        let (tag, _, spki) = body.next()?;
        if tag != SEQUENCE {
            return None;
        }
        body.value(0x81);
        body.value(0x82);
        let mut certificate = Self {
            validity,
            key: VerifyingKey::from_spki(spki),
            common_name: common_name(subject),
            alternative_names: None,
            may_sign: true,
            for_code: false,
            for_time_stamps: false,
            is_authority: false,
        };
        certificate.extend(body.inside(0xa3)?.inside(SEQUENCE)?)?;
        Some(certificate)
    }

    /// Reads every certificate of the PEM file at `path`, as DER.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it holds anything else, or nothing; [`Error::Io`].
    pub fn load(path: &Path) -> Result<Vec<Vec<u8>>, Error> {
        let malformed = || Error::Malformed { path: path.into(), expected: "certificates in PEM" };
        let blocks = pem::blocks(&super::read(path, false)?).ok_or_else(malformed)?;
        let der = |(label, der): (String, Vec<u8>)| {
            let fits = label == "CERTIFICATE" && Self::parse(&der).is_some();
            fits.then_some(der).ok_or_else(malformed)
        };
        match blocks.is_empty() {
            true => Err(malformed()),
            false => blocks.into_iter().map(der).collect(),
        }
    }

    /// Whether `now` lies within its validity.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        let [from, to] = self.validity;
        from <= now && now <= to
    }

    /// Whether it was made for `identity`: one of its alternative names exactly, or its common name where it has none.
    pub fn is_for(&self, identity: &str) -> bool {
        match &self.alternative_names {
            Some(names) => names.iter().any(|name| name == identity),
            None => self.common_name.as_deref() == Some(identity),
        }
    }

    /// The names it was made for, for messages.
    pub fn names(&self) -> Vec<String> {
        self.alternative_names.clone().unwrap_or_else(|| self.common_name.iter().cloned().collect())
    }

    fn extend(&mut self, mut extensions: Reader<'_>) -> Option<()> {
        let mut seen = Vec::new();
        while !extensions.0.is_empty() {
            let mut extension = extensions.inside(SEQUENCE)?;
            let id = extension.value(OBJECT_IDENTIFIER)?;
            extension.value(BOOLEAN);
            let mut value = Reader(extension.value(OCTET_STRING)?);
            if seen.contains(&id) || seen.len() > ENTRIES_MAX {
                return None;
            }
            seen.push(id);
            match id {
                // The first bit of the first byte behind the count of unused bits is digitalSignature.
                KEY_USAGE => self.may_sign = value.value(BIT_STRING)?.get(1).is_some_and(|bits| bits & 0x80 != 0),
                BASIC_CONSTRAINTS => {
                    let authority = value.inside(SEQUENCE)?.value(BOOLEAN);
                    self.is_authority = authority.is_some_and(|flag| flag != [0]);
                }
                EXTENDED_KEY_USAGE => {
                    let purposes = entries(value)?;
                    self.for_code = purposes.contains(&(OBJECT_IDENTIFIER, CODE_SIGNING));
                    self.for_time_stamps = purposes == [(OBJECT_IDENTIFIER, TIME_STAMPING)];
                }
                SUBJECT_ALT_NAME => {
                    // rfc822Name, dNSName and uniformResourceIdentifier are ASCII text under these context tags.
                    let texts = entries(value)?.into_iter().filter(|(tag, _)| matches!(tag, 0x81 | 0x82 | 0x86));
                    let name = |(_, text): (u8, &[u8])| String::from_utf8(text.to_vec()).ok();
                    self.alternative_names = Some(texts.map(name).collect::<Option<_>>()?);
                }
                _ => {}
            }
        }
        Some(())
    }
}

/// The elements of the one sequence in `value`.
fn entries(mut value: Reader<'_>) -> Option<Vec<(u8, &[u8])>> {
    let mut inside = value.inside(SEQUENCE)?;
    let mut entries = Vec::new();
    while !inside.0.is_empty() {
        let (tag, entry, _) = inside.next()?;
        entries.push((tag, entry));
        if entries.len() > ENTRIES_MAX {
            return None;
        }
    }
    Some(entries)
}

/// The last common name of a subject, which is the most specific.
fn common_name(mut subject: Reader<'_>) -> Option<String> {
    let mut found = None;
    while !subject.0.is_empty() {
        let mut attribute = subject.inside(SET)?.inside(SEQUENCE)?;
        if attribute.value(OBJECT_IDENTIFIER)? == COMMON_NAME {
            // Printable, UTF-8 or IA5 text; older kinds of text have more than one reading.
            let (tag, text, _) = attribute.next()?;
            found = matches!(tag, 0x0c | 0x13 | 0x16).then(|| String::from_utf8(text.to_vec()).ok()).flatten();
        }
    }
    found
}

/// A UTCTime or GeneralizedTime in the one form RFC 5280 allows.
pub(crate) fn time(reader: &mut Reader<'_>) -> Option<Timestamp> {
    let (tag, text, _) = reader.next()?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (century, rest) = match (tag, text.len()) {
        (UTC_TIME, 12) => (if text.get(..2)? < "50" { "20" } else { "19" }, text),
        (GENERALIZED_TIME, 14) => text.split_at_checked(2)?,
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2);
    let [year, month, day] = [part(0)?, part(2)?, part(4)?];
    let [hour, minute, second] = [part(6)?, part(8)?, part(10)?];
    format!("{century}{year}-{month}-{day}T{hour}:{minute}:{second}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Certificate::parse(&bytes);
        }
    }

    #[test]
    fn times_have_one_form() {
        let element = |tag, text: &str| crate::keys::der::element(tag, text.as_bytes());
        let read = |tag, text: &str| time(&mut Reader(&element(tag, text))).map(|time| time.to_string());
        assert_eq!(read(UTC_TIME, "491231235959Z").unwrap(), "2049-12-31T23:59:59Z");
        assert_eq!(read(UTC_TIME, "500101000000Z").unwrap(), "1950-01-01T00:00:00Z");
        assert_eq!(read(GENERALIZED_TIME, "20500101000000Z").unwrap(), "2050-01-01T00:00:00Z");
        for (tag, text) in
            [(UTC_TIME, "4912312359Z"), (UTC_TIME, "491231235959+0100"), (GENERALIZED_TIME, "20500101000000.5Z")]
        {
            assert_eq!(read(tag, text), None, "{text}");
        }
    }
}
