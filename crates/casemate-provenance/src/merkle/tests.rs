//! The tree against the definition of RFC 6962 and its published heads.

mod oracle;

use proptest::prelude::*;

use super::*;

/// RFC 6962, section 2.1, word for word: the oracle.
fn mth(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let k = (leaves.len() as u64).next_power_of_two() / 2;
            let (left, right) = leaves.split_at(usize::try_from(k).unwrap());
            node_hash(mth(left), mth(right))
        }
    }
}

fn path(m: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) = if m < k { (path(m, left), mth(right)) } else { (path(m - k, right), mth(left)) };
    proof.push(other);
    proof
}

fn subproof(m: usize, leaves: &[Digest], complete: bool) -> Vec<Digest> {
    if m == leaves.len() {
        return if complete { Vec::new() } else { vec![mth(leaves)] };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut proof, other) = match m <= k {
        true => (subproof(m, left, complete), mth(right)),
        false => (subproof(m - k, right, false), mth(left)),
    };
    proof.push(other);
    proof
}

fn leaves(n: u64) -> Vec<Digest> {
    (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

fn heads(ranges: Vec<Range<u64>>, leaves: &[Digest]) -> Vec<Digest> {
    let stretch = |node: Node| &leaves[usize::try_from(node.index << node.height).unwrap()..][..1 << node.height];
    let head = |range: Range<u64>| {
        let mut frontier = Frontier::default();
        cover(range).into_iter().for_each(|node| frontier.push(node.height, mth(stretch(node))));
        frontier.root()
    };
    ranges.into_iter().map(head).collect()
}

fn check_inclusion(index: u64, leaves: &[Digest]) {
    let size = leaves.len() as u64;
    let proof = heads(inclusion_ranges(index, size).unwrap(), leaves);
    let at = usize::try_from(index).unwrap();
    assert_eq!(proof, path(at, leaves), "{index} of {size}");
    let root = mth(leaves);
    assert_eq!(root_from_inclusion(leaves[at], index, size, &proof), Some(root));
    for i in 0..proof.len() {
        let mut bad = proof.clone();
        bad[i].0[7] ^= 1;
        assert_ne!(root_from_inclusion(leaves[at], index, size, &bad), Some(root));
        let short = [&proof[..i], &proof[i + 1..]].concat();
        assert_ne!(root_from_inclusion(leaves[at], index, size, &short), Some(root));
    }
    let long = [proof.as_slice(), &[root]].concat();
    assert_eq!(root_from_inclusion(leaves[at], index, size, &long), None);
}

fn check_consistency(old: u64, leaves: &[Digest]) {
    let new = leaves.len() as u64;
    let proof = heads(consistency_ranges(old, new).unwrap(), leaves);
    let old_leaves = &leaves[..usize::try_from(old).unwrap()];
    if old > 0 {
        assert_eq!(proof, subproof(old_leaves.len(), leaves, true), "{old} of {new}");
    }
    let (old_head, new_head) = ((old, mth(old_leaves)), (new, mth(leaves)));
    assert!(verify_consistency(old_head, new_head, &proof), "{old} of {new}");
    for i in 0..proof.len() {
        let mut bad = proof.clone();
        bad[i].0[7] ^= 1;
        assert!(!verify_consistency(old_head, new_head, &bad));
        assert!(!verify_consistency(old_head, new_head, &[&proof[..i], &proof[i + 1..]].concat()));
    }
    assert!(!verify_consistency(old_head, new_head, &[proof.as_slice(), &[new_head.1]].concat()));
    assert!(!verify_consistency((old, leaf_hash(b"other")), new_head, &proof));
    if old > 0 {
        assert!(!verify_consistency(old_head, (new, leaf_hash(b"other")), &proof));
    }
}

#[test]
fn reference_trees_of_certificate_transparency_have_their_heads() {
    // google/certificate-transparency, merkletree tests: the eight inputs, and the head of each prefix.
    let inputs: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let heads = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let leaves: Vec<Digest> = inputs.iter().map(|input| leaf_hash(input)).collect();
    for (n, head) in heads.iter().enumerate() {
        assert_eq!(root(&leaves[..n]).to_string(), *head, "{n}");
    }
}

#[test]
fn every_proof_of_every_small_tree_holds_and_no_altered_one_does() {
    let all = leaves(40);
    for size in 0..=all.len() {
        let leaves = &all[..size];
        assert_eq!(root(leaves), mth(leaves));
        for index in 0..size as u64 {
            check_inclusion(index, leaves);
        }
        for old in 0..=size as u64 {
            check_consistency(old, leaves);
        }
    }
}

#[test]
fn proofs_hold_around_powers_of_256() {
    let all = leaves(65_537);
    for (size, picks) in [(255, [0, 254]), (256, [0, 255]), (257, [255, 256]), (65_535, [0, 65_534])] {
        picks.into_iter().for_each(|index| check_inclusion(index, &all[..size]));
        picks.into_iter().for_each(|old| check_consistency(old, &all[..size]));
    }
    for size in [65_536, 65_537] {
        check_inclusion(65_535, &all[..size]);
        check_consistency(65_535, &all[..size]);
        check_consistency(256, &all[..size]);
    }
}

#[test]
fn there_is_no_proof_outside_the_tree() {
    assert_eq!(inclusion_ranges(0, 0), None);
    assert_eq!(inclusion_ranges(5, 5), None);
    assert_eq!(consistency_ranges(6, 5), None);
    assert_eq!(root_from_inclusion(empty_root(), 0, 0, &[]), None);
    assert!(!verify_consistency((2, empty_root()), (1, empty_root()), &[]));
    assert!(!verify_consistency((0, leaf_hash(b"")), (5, empty_root()), &[]));
}

#[test]
fn the_largest_sizes_neither_overflow_nor_loop() {
    let proof = vec![empty_root(); 64];
    for index in [0, 1, u64::MAX / 2, u64::MAX - 1] {
        let needed = inclusion_ranges(index, u64::MAX).unwrap().len();
        assert!(root_from_inclusion(empty_root(), index, u64::MAX, &proof[..needed]).is_some());
        assert!(root_from_inclusion(empty_root(), index, u64::MAX, &proof[..needed - 1]).is_none());
        assert!(!verify_consistency((index, empty_root()), (u64::MAX, empty_root()), &proof));
        assert!(consistency_ranges(index, u64::MAX).unwrap().len() <= 65, "RFC 6962: at most ceil(log2(n)) + 1");
    }
    assert_eq!(cover(0..u64::MAX).len(), 64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn proofs_hold_at_any_size(size in 1u64..2000, pick: u64) {
        let leaves = leaves(size);
        prop_assert_eq!(root(&leaves), mth(&leaves));
        check_inclusion(pick % size, &leaves);
        check_consistency(pick % (size + 1), &leaves);
    }

    #[test]
    fn arbitrary_proofs_are_judged_without_panic(
        index: u64, size: u64, proof in proptest::collection::vec(any::<[u8; 32]>(), 0..70)
    ) {
        let proof: Vec<Digest> = proof.into_iter().map(Digest).collect();
        let _ = root_from_inclusion(empty_root(), index, size, &proof);
        let judged = verify_consistency((index, leaf_hash(b"a")), (size, leaf_hash(b"b")), &proof);
        prop_assert!(!judged);
    }
}
