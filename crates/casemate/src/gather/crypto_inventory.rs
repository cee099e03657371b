//! Evidence about cryptography: every algorithm and key in use is listed and named, and what is hybrid really is.

use casemate_core::{Evidence, Fact, Outcome};

use super::{ProjectProbe, count, project_subject, record};
use crate::crypto;
use crate::exit::Failure;

/// Kind of the record.
pub const KIND: &str = "provenance.crypto-inventory";

/// The record of the inventory. Waivers are no part of it: they open gates and change no finding.
///
/// # Errors
/// When a key of `[trust]` cannot be read, or the ledger.
pub fn crypto_inventory(probe: &ProjectProbe<'_>) -> Result<Evidence, Failure> {
    let found = crypto::inventory(probe.project)?;
    let (planted, caught) = crypto::self_test();
    let mut evidence = record(KIND, "crypto-inventory", project_subject(probe.project), probe.span());
    let quantum_safe = found.uses.iter().filter(|one| one.quantum_safe == Some(true)).count();
    let facts = [
        ("algorithms", count(found.algorithms().len())),
        ("uses", count(found.uses.len())),
        ("uses_quantum_safe", count(quantum_safe)),
        ("uses_unlisted", count(found.unlisted())),
        ("uses_unread", count(found.unread.len())),
        ("keys_without_id", count(found.keys_without_id())),
        ("signatures_hybrid", Fact::Bool(found.signatures_hybrid)),
        ("tls_hybrid", Fact::Bool(found.tls_hybrid)),
        ("self_test_planted", Fact::Count(planted)),
        ("self_test_caught", Fact::Count(caught)),
    ];
    evidence.facts = facts.map(|(name, fact)| (name.to_owned(), fact)).into();
    let fail = |reason: String| (Outcome::Fail, Some(reason));
    (evidence.outcome, evidence.reason) = match () {
        () if planted != caught => (Outcome::Unknown, Some("a key planted for the inventory was missed".into())),
        () if !found.unread.is_empty() => (Outcome::Unknown, found.unread.first().cloned()),
        () if found.unlisted() > 0 => fail(format!("{} uses of algorithms that are not listed", found.unlisted())),
        () if found.keys_without_id() > 0 => fail(format!("{} keys without a name", found.keys_without_id())),
        () if !found.signatures_hybrid => {
            fail("not every declared model has a verified post-quantum signature beside the classical one".into())
        }
        () if !found.tls_hybrid => fail("connections prefer a key exchange that is not hybrid".into()),
        () => (Outcome::Pass, None),
    };
    Ok(evidence)
}
