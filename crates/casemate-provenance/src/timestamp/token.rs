//! The signature around a time stamp: CMS SignedData with one signer, read from the outside in.
//!
//! Sources: RFC 5652 (CMS), RFC 5035 and RFC 5816 (which certificate signed), RFC 3161, section 2.3 (what that certificate must
//! be for). What is signed are attributes that name the content's type and digest and the signer's certificate; all three are
//! compared. Paths and signatures are webpki's, with every key and hash it knows.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use casemate_core::Timestamp;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::aws_lc_rs::{
    ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P256_SHA512, ECDSA_P384_SHA256, ECDSA_P384_SHA384, ECDSA_P384_SHA512,
    ECDSA_P521_SHA256, ECDSA_P521_SHA384, ECDSA_P521_SHA512, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512,
};
use webpki::{EndEntityCert, KeyUsage};

use super::{Error, SHA_256, malformed};
use crate::keys::certificate::{Certificate, TIME_STAMPING};
use crate::keys::der::{INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, SET, element};
use crate::keys::path;

/// id-signedData, id-ct-TSTInfo, and the signed attributes.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const SIGNING_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x0c];
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f];

const SHA_384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const SHA_512: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];

/// What the identifiers of RSA (PKCS#1 v1.5) and of ECDSA begin with; the last arc names the hash.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];

/// Certificates and attributes that are read.
const ENTRIES_MAX: usize = 32;

/// A signed content, its signature not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignedData {
    /// What is stamped: a TSTInfo.
    pub(super) content: Vec<u8>,
    certificates: Vec<Vec<u8>>,
    /// Hash over the content.
    digest: Vec<u8>,
    /// The attributes, from behind their tag.
    attributes: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

impl SignedData {
    /// Reads a ContentInfo.
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mut outer = reader.inside(SEQUENCE).ok_or(malformed("no token"))?;
        if outer.value(OBJECT_IDENTIFIER) != Some(SIGNED_DATA) {
            return Err(malformed("token is not signed data"));
        }
        let mut data =
            outer.inside(0xa0).and_then(|mut data| data.inside(SEQUENCE)).ok_or(malformed("no signed data"))?;
        data.value(INTEGER).and_then(|_| data.value(SET)).ok_or(malformed("no digest algorithms"))?;
        let mut content = data.inside(SEQUENCE).ok_or(malformed("no content"))?;
        if content.value(OBJECT_IDENTIFIER) != Some(TST_INFO) {
            return Err(malformed("content is no time stamp"));
        }
        let content = content.inside(0xa0).and_then(|mut content| content.value(OCTET_STRING));
        let content = content.ok_or(malformed("no content"))?.to_vec();
        let certificates = data.inside(0xa0).map_or(Ok(Vec::new()), certificates)?;
        data.value(0xa1);
        let mut signers = data.inside(SET).ok_or(malformed("no signer"))?;
        let signer = signers.inside(SEQUENCE).and_then(signer).ok_or(malformed("signer"))?;
        if !signers.0.is_empty() {
            return Err(malformed("more than one signer"));
        }
        let [digest, attributes, algorithm, signature] = signer;
        Ok(Self { content, certificates, digest, attributes, algorithm, signature })
    }

    /// Checks the signature, and that its certificate was for time stamps at `time` and leads to one of `roots`; gives the
    /// names of that certificate.
    pub(super) fn verify(&self, roots: &[Vec<u8>], time: Timestamp) -> Result<String, String> {
        let content_hash = hash_of(&self.digest).ok_or("its hash is none of SHA-256, SHA-384 and SHA-512")?;
        let attributes = attributes(&self.attributes).ok_or("its signed attributes are malformed")?;
        let only = |wanted: &[u8]| match attributes.iter().filter(|(id, _)| *id == wanted).collect::<Vec<_>>()[..] {
            [(_, value)] => Some(*value),
            _ => None,
        };
        if only(CONTENT_TYPE).and_then(|value| Reader(value).value(OBJECT_IDENTIFIER)) != Some(TST_INFO) {
            return Err("the signed type of the content is not that of a time stamp".into());
        }
        let signed_digest = only(MESSAGE_DIGEST).and_then(|value| Reader(value).value(OCTET_STRING));
        if signed_digest != Some(digest::digest(content_hash, &self.content).as_ref()) {
            return Err("the signed digest is not that of the content".into());
        }
        let named =
            only(SIGNING_CERTIFICATE_V2).and_then(named_v2).or_else(|| only(SIGNING_CERTIFICATE).and_then(named_v1));
        let (hash, named) = named.ok_or("it does not say which certificate signed")?;
        let is_named = |der: &&Vec<u8>| digest::digest(hash, der).as_ref() == named;
        let leaf = self.certificates.iter().find(is_named).ok_or("the certificate that signed is not there")?;
        let certificate = Certificate::parse(leaf).ok_or("the authority's certificate is malformed")?;
        if !certificate.for_time_stamps || !certificate.may_sign || certificate.is_authority {
            return Err("the authority's certificate is not for time stamps alone".into());
        }
        if !certificate.is_valid_at(time) {
            return Err(format!("the authority's certificate was not valid at {time}"));
        }
        path::leads_to_root(leaf, &self.certificates, roots, time, KeyUsage::required(TIME_STAMPING))?;
        // What is signed is the set itself, not the tag it stands under here (RFC 5652, section 5.4).
        let message = element(SET, &self.attributes);
        let leaf = CertificateDer::from(leaf.as_slice());
        let leaf = EndEntityCert::try_from(&leaf).map_err(|error| format!("the authority's certificate: {error}"))?;
        let algorithms = algorithms(&self.algorithm, &self.digest).ok_or("it is of a kind that is not read here")?;
        match algorithms.iter().any(|algorithm| leaf.verify_signature(*algorithm, &message, &self.signature).is_ok()) {
            true => Ok(certificate.names().into_iter().chain(certificate.common_name).next().unwrap_or_default()),
            false => Err("it is not the authority's".into()),
        }
    }
}

#[cfg(test)]
impl SignedData {
    pub(super) fn replace_certificates(&mut self, certificates: Vec<Vec<u8>>) {
        self.certificates = certificates;
    }
}

fn certificates(mut reader: Reader<'_>) -> Result<Vec<Vec<u8>>, Error> {
    let mut found = Vec::new();
    while !reader.0.is_empty() {
        let (tag, _, der) = reader.next().ok_or(malformed("certificates"))?;
        // Other kinds of certificates stand under tags of their own.
        if tag == SEQUENCE {
            found.push(der.to_vec());
        }
        if found.len() > ENTRIES_MAX {
            return Err(malformed("too many certificates"));
        }
    }
    Ok(found)
}

/// Hash, attributes, algorithm and signature of a SignerInfo. Who signed is not read from the name that is given here, which
/// nothing signs, but from the attributes.
fn signer(mut signer: Reader<'_>) -> Option<[Vec<u8>; 4]> {
    signer.value(INTEGER)?;
    signer.value(SEQUENCE).or_else(|| signer.value(0x80))?;
    let digest = signer.inside(SEQUENCE)?.value(OBJECT_IDENTIFIER)?.to_vec();
    let attributes = signer.value(0xa0)?.to_vec();
    let algorithm = signer.inside(SEQUENCE)?.value(OBJECT_IDENTIFIER)?.to_vec();
    let signature = signer.value(OCTET_STRING)?.to_vec();
    Some([digest, attributes, algorithm, signature])
}

/// Every attribute with the one value it has.
fn attributes(der: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut reader = Reader(der);
    let mut found = Vec::new();
    while !reader.0.is_empty() && found.len() < ENTRIES_MAX {
        let mut attribute = reader.inside(SEQUENCE)?;
        let id = attribute.value(OBJECT_IDENTIFIER)?;
        let mut values = Reader(attribute.value(SET)?);
        let (_, _, value) = values.next()?;
        values.0.is_empty().then_some(())?;
        found.push((id, value));
    }
    reader.0.is_empty().then_some(found)
}

/// Hash and digest of the first certificate an ESS SigningCertificateV2 names.
fn named_v2(value: &[u8]) -> Option<(&'static digest::Algorithm, Vec<u8>)> {
    let mut first = Reader(value).inside(SEQUENCE)?.inside(SEQUENCE)?.inside(SEQUENCE)?;
    let hash = match first.inside(SEQUENCE) {
        Some(mut algorithm) => hash_of(algorithm.value(OBJECT_IDENTIFIER)?)?,
        None => &SHA256,
    };
    Some((hash, first.value(OCTET_STRING)?.to_vec()))
}

/// The same of the older SigningCertificate, whose hash is SHA-1: it only chooses among certificates, each of which has to lead
/// to a trusted root.
fn named_v1(value: &[u8]) -> Option<(&'static digest::Algorithm, Vec<u8>)> {
    let mut first = Reader(value).inside(SEQUENCE)?.inside(SEQUENCE)?.inside(SEQUENCE)?;
    Some((&SHA1_FOR_LEGACY_USE_ONLY, first.value(OCTET_STRING)?.to_vec()))
}

fn hash_of(id: &[u8]) -> Option<&'static digest::Algorithm> {
    match id {
        SHA_256 => Some(&SHA256),
        SHA_384 => Some(&SHA384),
        SHA_512 => Some(&SHA512),
        _ => None,
    }
}

/// What may verify a signature of the kind `id`; plain RSA leaves the hash to the signer's.
fn algorithms(id: &[u8], digest: &[u8]) -> Option<Vec<&'static dyn SignatureVerificationAlgorithm>> {
    let hash = |arc: u8| match arc {
        1 => hash_of(digest).map(|hash| hash.output_len),
        11 | 2 => Some(32),
        12 | 3 => Some(48),
        13 | 4 => Some(64),
        _ => None,
    };
    let (arc, family) = id.split_last()?;
    let is_rsa = family == RSA && matches!(arc, 1 | 11..=13);
    let is_ecdsa = family == ECDSA && matches!(arc, 2..=4);
    let length = hash(*arc).filter(|_| is_rsa || is_ecdsa)?;
    Some(match (is_rsa, length) {
        (true, 32) => vec![RSA_PKCS1_2048_8192_SHA256],
        (true, 48) => vec![RSA_PKCS1_2048_8192_SHA384],
        (true, _) => vec![RSA_PKCS1_2048_8192_SHA512],
        (false, 32) => vec![ECDSA_P256_SHA256, ECDSA_P384_SHA256, ECDSA_P521_SHA256],
        (false, 48) => vec![ECDSA_P256_SHA384, ECDSA_P384_SHA384, ECDSA_P521_SHA384],
        (false, _) => vec![ECDSA_P256_SHA512, ECDSA_P384_SHA512, ECDSA_P521_SHA512],
    })
}
