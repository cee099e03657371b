//! Whether a chain of certificates speaks for the signer that is expected.
//!
//! The reference pins no identity, trusts the web's authorities by default, and checks dates at the moment the leaf itself
//! names. Here roots and identity come from the verifier, every date is checked now, and the leaf must be for signing code.

use casemate_core::Timestamp;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::Error;
use crate::keys::certificate::Certificate;
use crate::keys::signing::VerifyingKey;

/// id-kp-codeSigning.
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];

/// Who may sign with a certificate.
#[derive(Clone, Debug)]
pub struct TrustedRoots {
    /// Authorities, DER; none is trusted that is not here.
    pub roots: Vec<Vec<u8>>,
    /// The signer: an e-mail address, URI or host name of the leaf exactly, or its common name where it has none of these.
    pub identity: String,
    /// When.
    pub now: Timestamp,
}

/// The key of the leaf of `chain`, when the chain leads to a trusted root and speaks for the expected signer.
pub(super) fn verified_key(chain: &[Vec<u8>], trusted: &TrustedRoots) -> Result<VerifyingKey, Error> {
    let refuse = |what: String| Error::Signature(what);
    let [leaf_der, above @ ..] = chain else { return Err(refuse("it carries no certificate".into())) };
    let leaf = Certificate::parse(leaf_der).ok_or_else(|| refuse("the signer's certificate is malformed".into()))?;
    let [from, to] = leaf.validity;
    let complaint = match &leaf {
        leaf if !leaf.is_valid_at(trusted.now) => Some(format!("is valid from {from} to {to} only")),
        leaf if leaf.is_authority => Some("is one of an authority, which signs certificates and not models".into()),
        leaf if !leaf.for_code => Some("is not for signing code (extended key usage codeSigning)".into()),
        leaf if !leaf.may_sign => Some("is not for digital signatures (key usage)".into()),
        leaf if !leaf.is_for(&trusted.identity) => {
            let names: Vec<String> =
                leaf.names().iter().map(|name| format!("`{}`", name.escape_debug())).take(8).collect();
            Some(format!("is for {}, not for `{}`", names.join(", "), trusted.identity))
        }
        _ => None,
    };
    if let Some(complaint) = complaint {
        return Err(refuse(format!("the signer's certificate {complaint}")));
    }
    path(leaf_der, above, trusted)?;
    leaf.key.ok_or_else(|| refuse("the key of the signer's certificate is of no kind that signs models".into()))
}

/// Whether webpki finds a path to one of the roots that are valid now.
fn path(leaf: &[u8], above: &[Vec<u8>], trusted: &TrustedRoots) -> Result<(), Error> {
    let valid = |root: &&Vec<u8>| Certificate::parse(root).is_some_and(|root| root.is_valid_at(trusted.now));
    let roots: Vec<CertificateDer<'_>> =
        trusted.roots.iter().filter(valid).map(|root| CertificateDer::from(root.as_slice())).collect();
    if roots.is_empty() {
        return Err(Error::Signature("none of the trusted roots is valid now".into()));
    }
    let refuse = |error: webpki::Error| Error::Signature(format!("the certificates lead to no trusted root: {error}"));
    let anchors = roots.iter().map(anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>().map_err(refuse)?;
    let above: Vec<CertificateDer<'_>> = above.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let leaf = CertificateDer::from(leaf);
    let leaf = EndEntityCert::try_from(&leaf).map_err(refuse)?;
    let seconds = u64::try_from(trusted.now.unix_ms() / 1000).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let usage = KeyUsage::required_if_present(CODE_SIGNING);
    leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &above, now, usage, None, None).map(drop).map_err(refuse)
}
