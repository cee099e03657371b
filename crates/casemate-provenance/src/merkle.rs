//! Merkle trees over a growing list: tree heads, inclusion and consistency proofs.
//!
//! Source: RFC 6962, section 2.1 (definitions), and RFC 9162, sections 2.1.3.2 and 2.1.4.2 (verification). A proof is made
//! in two steps: the pure functions here say which stretches of leaves its hashes cover, and whoever stores the tree
//! ([`crate::tiles`]) hands over the complete subtrees of a stretch.

use std::ops::Range;

use aws_lc_rs::digest;
use casemate_core::Digest;

use crate::hash;

/// A complete subtree: the leaves `index << height .. (index + 1) << height`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// 0 for a leaf.
    pub height: u32,
    /// Which one of its height, from 0 on the left.
    pub index: u64,
}

/// The hash of a leaf: SHA-256 of a zero byte and the entry.
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[0]);
    context.update(entry);
    hash::finish(context)
}

/// The hash of a node: SHA-256 of a one byte, the left and the right child.
pub fn node_hash(left: Digest, right: Digest) -> Digest {
    let mut bytes = [1; 65];
    let (_, children) = bytes.split_at_mut(1);
    let (to_left, to_right) = children.split_at_mut(32);
    to_left.copy_from_slice(&left.0);
    to_right.copy_from_slice(&right.0);
    hash::sha256(&bytes)
}

/// The head of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Digest {
    hash::sha256(&[])
}

/// The head of the tree with these leaf hashes.
pub fn root(leaf_hashes: &[Digest]) -> Digest {
    let mut frontier = Frontier::default();
    leaf_hashes.iter().for_each(|leaf| frontier.push(0, *leaf));
    frontier.root()
}

/// A tree under construction: the roots of its complete subtrees from left to right, at most 64.
#[derive(Clone, Debug, Default)]
pub struct Frontier(Vec<(u32, Digest)>);

impl Frontier {
    /// Adds a complete subtree of `height` with root `hash` on the right; no lower one may have been added before, unless
    /// enough of them to fill subtrees of `height`.
    pub fn push(&mut self, mut height: u32, mut hash: Digest) {
        while let Some((_, left)) = self.0.pop_if(|(left_height, _)| *left_height == height) {
            hash = node_hash(left, hash);
            height += 1;
        }
        self.0.push((height, hash));
    }

    /// The head of the tree so far.
    pub fn root(&self) -> Digest {
        let fold = |right: Option<Digest>, (_, left): &(u32, Digest)| {
            Some(right.map_or(*left, |right| node_hash(*left, right)))
        };
        self.0.iter().rev().fold(None, fold).unwrap_or_else(empty_root)
    }
}

/// The complete subtrees that make up the stretch `leaves`, from left to right, each as large as fits.
pub fn cover(leaves: Range<u64>) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut start = leaves.start;
    while let Some(log2) = leaves.end.checked_sub(start).and_then(u64::checked_ilog2) {
        let height = start.trailing_zeros().min(log2);
        nodes.push(Node { height, index: start >> height });
        start += 1 << height;
    }
    nodes
}

/// The stretches of leaves whose heads prove that leaf `index` is in the tree of `size` leaves, from the leaf upwards.
///
/// `None` when the tree has no such leaf. Source: RFC 6962, section 2.1.1.
pub fn inclusion_ranges(index: u64, size: u64) -> Option<Vec<Range<u64>>> {
    let mut tree = 0..size;
    let mut ranges = Vec::new();
    while index < size && tree.end - tree.start > 1 {
        let middle = split(&tree);
        if index < middle {
            ranges.push(middle..tree.end);
            tree.end = middle;
        } else {
            ranges.push(tree.start..middle);
            tree.start = middle;
        }
    }
    ranges.reverse();
    (index < size).then_some(ranges)
}

/// The stretches of leaves whose heads prove that the tree of `old` leaves is a prefix of the tree of `new` leaves.
///
/// Empty for an empty old tree and for two equal ones; `None` when `old` is larger. Source: RFC 6962, section 2.1.2.
pub fn consistency_ranges(old: u64, new: u64) -> Option<Vec<Range<u64>>> {
    if old == 0 || old >= new {
        return (old <= new).then(Vec::new);
    }
    let mut tree = 0..new;
    let mut ranges = Vec::new();
    while old != tree.end {
        let middle = split(&tree);
        if old <= middle {
            ranges.push(middle..tree.end);
            tree.end = middle;
        } else {
            ranges.push(tree.start..middle);
            tree.start = middle;
        }
    }
    if tree.start != 0 {
        ranges.push(tree);
    }
    ranges.reverse();
    Some(ranges)
}

/// Where a tree of at least two leaves divides: after the largest power of two below its size.
fn split(tree: &Range<u64>) -> u64 {
    tree.start + (1 << (tree.end - tree.start - 1).ilog2())
}

/// The head of the tree of `size` leaves in which `leaf` stands at `index` under `proof`; `None` when there is none.
///
/// Source: RFC 9162, section 2.1.3.2.
pub fn root_from_inclusion(leaf: Digest, index: u64, size: u64, proof: &[Digest]) -> Option<Digest> {
    let (mut node, mut last) = (index, size.checked_sub(1).filter(|last| index <= *last)?);
    let mut root = leaf;
    for sibling in proof {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            root = node_hash(*sibling, root);
            let skipped = node.trailing_zeros().min(63);
            (node, last) = (node >> skipped, last >> skipped);
        } else {
            root = node_hash(root, *sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    (last == 0).then_some(root)
}

/// Whether `proof` shows that the tree `old` (size and head) is a prefix of the tree `new`.
///
/// The empty tree is a prefix of every tree, by an empty proof. Source: RFC 9162, section 2.1.4.2.
pub fn verify_consistency(old: (u64, Digest), new: (u64, Digest), proof: &[Digest]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size == 0 || old_size == new_size {
        let old_holds = if old_size == 0 { old_root == empty_root() } else { old_root == new_root };
        let new_holds = new_size != 0 || new_root == empty_root();
        return proof.is_empty() && old_holds && new_holds;
    }
    if old_size > new_size {
        return false;
    }
    // A complete old tree is its own first hash.
    let (start, rest) = match (old_size.is_power_of_two(), proof.split_first()) {
        (true, _) => (old_root, proof),
        (false, Some((first, rest))) => (*first, rest),
        (false, None) => return false,
    };
    let complete = (old_size - 1).trailing_ones();
    let (mut node, mut last) = ((old_size - 1) >> complete, (new_size - 1) >> complete);
    let (mut old_found, mut new_found) = (start, start);
    for hash in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_found = node_hash(*hash, old_found);
            new_found = node_hash(*hash, new_found);
            let skipped = node.trailing_zeros().min(63);
            (node, last) = (node >> skipped, last >> skipped);
        } else {
            new_found = node_hash(new_found, *hash);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && old_found == old_root && new_found == new_root
}

#[cfg(test)]
mod tests;
