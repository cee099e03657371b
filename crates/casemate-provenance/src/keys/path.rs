//! Whether certificates lead to a root that is trusted: webpki's work, with the dates of roots that it leaves out.

use std::time::Duration;

use casemate_core::Timestamp;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::certificate::Certificate;

/// Finds a path from `leaf` over `above` to one of `roots` that is valid at `time`, all of it for `usage`.
///
/// # Errors
/// Why there is none, in one line.
pub(crate) fn leads_to_root(
    leaf: &[u8],
    above: &[Vec<u8>],
    roots: &[Vec<u8>],
    time: Timestamp,
    usage: KeyUsage,
) -> Result<(), String> {
    let valid = |root: &&Vec<u8>| Certificate::parse(root).is_some_and(|root| root.is_valid_at(time));
    let roots: Vec<CertificateDer<'_>> =
        roots.iter().filter(valid).map(|root| CertificateDer::from(root.as_slice())).collect();
    if roots.is_empty() {
        return Err("none of the trusted roots is valid now".into());
    }
    let refuse = |error: webpki::Error| format!("the certificates lead to no trusted root: {error}");
    let anchors = roots.iter().map(anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>().map_err(refuse)?;
    let above: Vec<CertificateDer<'_>> = above.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let leaf = CertificateDer::from(leaf);
    let leaf = EndEntityCert::try_from(&leaf).map_err(refuse)?;
    let seconds = u64::try_from(time.unix_ms() / 1000).unwrap_or(0);
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &above, at, usage, None, None).map(drop).map_err(refuse)
}
