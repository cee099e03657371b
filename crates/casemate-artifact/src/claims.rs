//! Which bytes of an object a parser has accounted for.
//!
//! Every byte is claimed by one parser or reported. This finds appended executables, prefix pickles, second archives and
//! holes between tensors without a signature for each.

use std::ops::Range;

/// A set of claimed byte ranges. Ranges may arrive in any order; adjacent and overlapping ones merge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    // Disjoint, not adjacent, ascending: a claim at the end, the usual case, costs nothing.
    ranges: Vec<Range<u64>>,
}

impl Claims {
    /// Claims `range`; returns whether any byte of it was claimed before.
    pub fn add(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return false;
        }
        let first = self.ranges.partition_point(|r| r.end < range.start);
        let last = self.ranges.partition_point(|r| r.start <= range.end);
        let touched = self.ranges.get(first..last).unwrap_or_default();
        let overlaps = touched.iter().any(|r| r.start < range.end && range.start < r.end);
        let start = touched.first().map_or(range.start, |r| r.start.min(range.start));
        let end = touched.last().map_or(range.end, |r| r.end.max(range.end));
        self.ranges.splice(first..last, std::iter::once(start..end));
        overlaps
    }

    /// The bytes of `0..size_bytes` that nobody claimed, ascending.
    pub fn gaps(&self, size_bytes: u64) -> Vec<Range<u64>> {
        let starts = std::iter::once(0).chain(self.ranges.iter().map(|r| r.end));
        let ends = self.ranges.iter().map(|r| r.start).chain(std::iter::once(size_bytes));
        starts.zip(ends).filter(|(start, end)| start < end).map(|(start, end)| start..end.min(size_bytes)).collect()
    }

    /// The claimed ranges, disjoint and ascending.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn gaps_are_exactly_the_bytes_never_claimed(claims in prop::collection::vec((0u64..60, 0u64..20), 0..12)) {
            let mut set = Claims::default();
            let mut bytes = [false; 64];
            for (start, len) in claims {
                let range = start..(start + len).min(64);
                let overlaps = range.clone().any(|i| bytes[usize::try_from(i).unwrap()]);
                prop_assert_eq!(set.add(range.clone()), overlaps);
                range.for_each(|i| bytes[usize::try_from(i).unwrap()] = true);
            }
            let mut unclaimed = [false; 64];
            set.gaps(64).into_iter().flatten().for_each(|i| unclaimed[usize::try_from(i).unwrap()] = true);
            prop_assert!(bytes.iter().zip(&unclaimed).all(|(claimed, gap)| claimed != gap));
        }
    }
}
