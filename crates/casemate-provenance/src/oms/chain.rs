//! Whether a chain of certificates speaks for the signer that is expected.
//!
//! The reference pins no identity, trusts the web's authorities by default, and checks dates at the moment the leaf itself
//! names. Here roots and identity come from the verifier, every date is checked now, and the leaf must be for signing code.

use casemate_core::Timestamp;
use webpki::KeyUsage;

use super::Error;
use crate::keys::certificate::Certificate;
use crate::keys::path;
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
    path::leads_to_root(leaf_der, above, &trusted.roots, trusted.now, KeyUsage::required_if_present(CODE_SIGNING))
        .map_err(Error::Signature)?;
    leaf.key.ok_or_else(|| refuse("the key of the signer's certificate is of no kind that signs models".into()))
}
