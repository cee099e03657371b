//! What is listed and what is not, without a project.

use super::*;

#[test]
fn names_of_algorithms_stand_once_and_tell_what_withstands_quantum_computers() {
    let names: BTreeSet<_> = ALGORITHMS.iter().map(|known| known.name).collect();
    assert_eq!(names.len(), ALGORITHMS.len());
    let safe = |name: &str| Use::new("test", name, "here").quantum_safe;
    assert_eq!((safe("ecdsa-p256"), safe("ml-dsa-65"), safe("rsa-2048")), (Some(false), Some(true), None));
}

#[test]
fn what_the_client_offers_is_read_from_it_and_not_stated() {
    let mut provider = crate::remote::client::provider();
    let offered = |provider: &CryptoProvider| {
        let mut found = CryptoInventory::default();
        tls(provider, &mut found);
        found
    };
    let found = offered(&provider);
    assert!(found.tls_hybrid, "{:?}", found.uses);
    assert_eq!(found.unlisted(), 0, "{:?}", found.uses);
    assert!(found.algorithms().contains("x25519mlkem768"));
    provider.kx_groups.reverse();
    assert!(!offered(&provider).tls_hybrid, "a hybrid that is not preferred is not offered first");
    provider.kx_groups.clear();
    assert!(!offered(&provider).tls_hybrid);
}

#[test]
fn a_key_of_another_kind_is_unlisted_and_without_a_name() {
    let found = keys::planted();
    assert_eq!((found.unlisted(), found.keys_without_id()), (1, 1), "{:?}", found.uses);
    assert_eq!(self_test(), (2, 2));
}
