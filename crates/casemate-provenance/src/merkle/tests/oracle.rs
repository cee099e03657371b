//! The same trees by another implementation, `ct-merkle`: heads and proofs are equal, and wrong ones refused by both.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use sha2::Sha256;

use super::*;

type Tree = MemoryBackedTree<Sha256, [u8; 8]>;

fn leaf(n: u64) -> [u8; 8] {
    n.to_be_bytes()
}

fn hashes(size: u64) -> Vec<Digest> {
    (0..size).map(|n| leaf_hash(&leaf(n))).collect()
}

fn tree(size: u64) -> Tree {
    let mut tree = Tree::new();
    (0..size).for_each(|n| tree.push(leaf(n)));
    tree
}

fn bytes(proof: &[Digest]) -> Vec<u8> {
    proof.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes over `ranges` of `leaves`.
fn heads(leaves: &[Digest], ranges: Vec<Range<u64>>) -> Vec<Digest> {
    let at = |n: u64| usize::try_from(n).unwrap();
    ranges.into_iter().map(|range| root(&leaves[at(range.start)..at(range.end)])).collect()
}

fn their_root(leaves: &[Digest]) -> RootHash<Sha256> {
    RootHash::new(root(leaves).0.into(), leaves.len() as u64)
}

fn compare(size: u64, index: u64, old: u64, flip: usize) {
    let (leaves, theirs) = (hashes(size), tree(size));
    let head = root(&leaves);
    assert_eq!(theirs.root().as_bytes().as_slice(), head.0, "size {size}");
    if size == 0 {
        return;
    }
    let (index, old) = (index % size, 1 + old % size);
    let at = |n: u64| usize::try_from(n).unwrap();
    // Inclusion.
    let proof = heads(&leaves, inclusion_ranges(index, size).unwrap());
    assert_eq!(bytes(&proof), theirs.prove_inclusion(at(index)).as_bytes(), "size {size}, leaf {index}");
    assert_eq!(root_from_inclusion(leaves[at(index)], index, size, &proof), Some(head));
    let theirs_say = |proof: &[Digest], index: u64, leaf: [u8; 8]| {
        theirs.root().verify_inclusion(&leaf, index, &InclusionProof::from_bytes(bytes(proof))).is_ok()
    };
    assert!(theirs_say(&proof, index, leaf(index)));
    for wrong in wrong(&proof, flip) {
        let ours = root_from_inclusion(leaves[at(index)], index, size, &wrong) == Some(head);
        assert!(!ours && !theirs_say(&wrong, index, leaf(index)), "size {size}, leaf {index}");
    }
    let other = (index + 1) % size;
    if other != index {
        let ours = root_from_inclusion(leaves[at(other)], index, size, &proof) == Some(head);
        assert!(!ours && !theirs_say(&proof, index, leaf(other)));
    }
    // Consistency.
    let proof = heads(&leaves, consistency_ranges(old, size).unwrap());
    assert_eq!(bytes(&proof), theirs.prove_consistency(at(size - old)).as_bytes(), "{old} to {size}");
    let (before, now) = (&leaves[..at(old)], &leaves);
    let ours_say = |proof: &[Digest]| verify_consistency((old, root(before)), (size, head), proof);
    let theirs_say = |proof: &[Digest]| {
        let proof = ConsistencyProof::try_from_bytes(bytes(proof)).unwrap();
        their_root(now).verify_consistency(&their_root(before), &proof).is_ok()
    };
    assert!(ours_say(&proof) && theirs_say(&proof), "{old} to {size}");
    for wrong in wrong(&proof, flip) {
        assert!(!ours_say(&wrong) && !theirs_say(&wrong), "{old} to {size}");
    }
}

/// A hash changed, one more, one less.
fn wrong(proof: &[Digest], flip: usize) -> Vec<Vec<Digest>> {
    let mut all = vec![[proof, &[empty_root()]].concat()];
    if !proof.is_empty() {
        let mut changed = proof.to_vec();
        changed[flip % proof.len()].0[flip % 32] ^= 0x10;
        all.push(changed);
        all.push(proof[1..].to_vec());
        all.push(proof[..proof.len() - 1].to_vec());
    }
    all
}

#[test]
fn around_powers_of_256_both_agree() {
    for middle in [1u64, 256, 512, 65_536] {
        for size in [middle - 1, middle, middle + 1] {
            for (index, old) in
                [(0, 0), (size / 2, size / 3), (size.saturating_sub(1), size.saturating_sub(2)), (255, 255)]
            {
                // The large trees once each: building them is what takes time.
                if size < 1000 || index == 255 {
                    compare(size, index, old, 7);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn of_any_size_both_agree(size in 0u64..2000, index: u32, old: u32, flip in 0usize..1000) {
        compare(size, index.into(), old.into(), flip);
    }
}
