//! How a Merkle tree lies in files: tiles of 256 hashes, bundles of 256 entries, and their names.
//!
//! Source: c2sp.org/tlog-tiles (v1.0.0). A tile at level `l` holds heads of complete subtrees of `256^l` leaves; a file that
//! is complete never changes again. Partial tiles are never hashed upwards. Reading and writing the files is left to
//! [`crate::ledger`].

use std::fmt;

use casemate_core::Digest;

use crate::merkle::Frontier;
use crate::note::parse_decimal;

/// Hashes of a complete tile, entries of a complete bundle.
pub const WIDTH: u64 = TILE_HASHES as u64;
/// The same, to count in memory.
pub(crate) const TILE_HASHES: usize = 256;
/// Height of the trees in a tile.
pub const HEIGHT: u32 = 8;
/// Bytes one entry may have: its length is written in 16 bits.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;
/// Bytes of the longest possible bundle.
pub const BUNDLE_BYTES_MAX: u64 = WIDTH * (2 + ENTRY_BYTES_MAX as u64);
/// Bytes of a complete tile.
pub const TILE_BYTES_MAX: u64 = WIDTH * 32;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Hashes of this level, from 0 for leaves up to 63.
    Hashes(u32),
    /// Entries.
    Entries,
}

/// Which tile, and how much of it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// What it holds.
    pub kind: Kind,
    /// Which one of its kind, from 0 on the left.
    pub index: u64,
    /// Hashes or entries in it, 1 to 256.
    pub width: u64,
}

/// Why bytes are not a tile.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// More entries than a bundle holds.
    #[error("bundle holds more than 256 entries")]
    TooManyEntries,
    /// The length of an entry says more than there is.
    #[error("entry {n} of the bundle ends past its end")]
    EntryTruncated {
        /// Which entry of the bundle, from 0.
        n: u64,
    },
    /// An entry longer than its length field can say.
    #[error("entry of {size_bytes} bytes is longer than {max}")]
    EntryTooLarge {
        /// Its length.
        size_bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Not 1 to 256 hashes.
    #[error("tile of {size_bytes} bytes does not hold 1 to 256 hashes")]
    Length {
        /// Its length.
        size_bytes: usize,
    },
}

/// How many hashes level `level` of a tree of `size` leaves has: heads of complete subtrees of `256^level` leaves.
pub fn hashes_at(level: u32, size: u64) -> u64 {
    level.checked_mul(HEIGHT).and_then(|bits| size.checked_shr(bits)).unwrap_or(0)
}

impl Tile {
    /// The tile `index` of `kind` in a tree of `size` leaves, or `None` when nothing of it is there.
    pub fn in_tree(kind: Kind, index: u64, size: u64) -> Option<Self> {
        let level = if let Kind::Hashes(level) = kind { level } else { 0 };
        let rest = hashes_at(level, size).saturating_sub(index.checked_mul(WIDTH)?);
        (rest > 0).then_some(Self { kind, index, width: rest.min(WIDTH) })
    }

    /// The incomplete tiles of a tree of `size` leaves: at most one of each kind.
    pub fn partial_in_tree(size: u64) -> Vec<Self> {
        let levels = (0..HEIGHT).map(|level| (Kind::Hashes(level), hashes_at(level, size)));
        let kinds = levels.chain([(Kind::Entries, size)]);
        kinds.filter_map(|(kind, n)| Self::in_tree(kind, n / WIDTH, size)).collect()
    }

    /// Whether a tree of `size` leaves consists, among others, of this file.
    pub fn is_part(&self, size: u64) -> bool {
        Self::in_tree(self.kind, self.index, size).as_ref() == Some(self)
    }

    /// The tile a path names, when it is spelled the one right way.
    pub fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => Kind::Entries,
            level => Kind::Hashes(parse_decimal(level).and_then(|n| u32::try_from(n).ok()).filter(|n| *n < 64)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, parse_decimal(width)?),
            None => (rest, WIDTH),
        };
        let mut index = 0u64;
        for group in number.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            let value: u64 = digits.parse().ok()?;
            index = index.checked_mul(1000)?.checked_add(value)?;
        }
        // Printing back settles signs, widths of groups, `x` and leading zeros at once.
        let tile = Self { kind, index, width };
        (tile.to_string() == path && (1..=WIDTH).contains(&width)).then_some(tile)
    }
}

impl fmt::Display for Tile {
    /// The path: `tile/<level>/<index>`, the index in groups of three digits, `.p/<width>` when it is incomplete.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Hashes(level) => write!(f, "tile/{level}/")?,
            Kind::Entries => f.write_str("tile/entries/")?,
        }
        let groups = self.index.checked_ilog10().unwrap_or(0) / 3;
        for group in (1..=groups).rev() {
            write!(f, "x{:03}/", self.index / 1000u64.pow(group) % 1000)?;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.width == WIDTH { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// The bytes of a bundle of `entries`: each behind its length as a big-endian u16.
///
/// # Errors
/// [`Error::EntryTooLarge`] and [`Error::TooManyEntries`].
pub fn write_entries(entries: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
    if entries.len() as u64 > WIDTH {
        return Err(Error::TooManyEntries);
    }
    let mut bytes = Vec::new();
    for entry in entries {
        let too_large = |_| Error::EntryTooLarge { size_bytes: entry.len(), max: ENTRY_BYTES_MAX };
        bytes.extend(u16::try_from(entry.len()).map_err(too_large)?.to_be_bytes());
        bytes.extend(entry);
    }
    Ok(bytes)
}

/// The entries of a bundle.
///
/// # Errors
/// [`Error::EntryTruncated`] and [`Error::TooManyEntries`].
pub fn parse_entries(mut bytes: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let truncated = Error::EntryTruncated { n: entries.len() as u64 };
        let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return Err(truncated) };
        let Some((entry, rest)) = rest.split_at_checked(u16::from_be_bytes(*length).into()) else {
            return Err(truncated);
        };
        if entries.len() as u64 == WIDTH {
            return Err(Error::TooManyEntries);
        }
        entries.push(entry);
        bytes = rest;
    }
    Ok(entries)
}

/// The bytes of a tile of `hashes`.
pub fn write_hashes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes of a tile.
///
/// # Errors
/// [`Error::Length`].
pub fn parse_hashes(bytes: &[u8]) -> Result<Vec<Digest>, Error> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    match rest.is_empty() && (1..=WIDTH).contains(&(hashes.len() as u64)) {
        true => Ok(hashes.iter().map(|hash| Digest(*hash)).collect()),
        false => Err(Error::Length { size_bytes: bytes.len() }),
    }
}

/// The head of the tree over the hashes of one tile.
pub fn head(hashes: &[Digest]) -> Digest {
    let mut frontier = Frontier::default();
    hashes.iter().for_each(|hash| frontier.push(0, *hash));
    frontier.root()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tile(kind: Kind, index: u64, width: u64) -> Tile {
        Tile { kind, index, width }
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        for (tile, path) in [
            (tile(Kind::Hashes(0), 1_234_067, 256), "tile/0/x001/x234/067"),
            (tile(Kind::Hashes(3), 5, 12), "tile/3/005.p/12"),
            (tile(Kind::Entries, 999, 256), "tile/entries/999"),
            (tile(Kind::Entries, 1000, 1), "tile/entries/x001/000.p/1"),
            (tile(Kind::Hashes(63), u64::MAX, 255), "tile/63/x018/x446/x744/x073/x709/x551/615.p/255"),
        ] {
            assert_eq!(tile.to_string(), path);
            assert_eq!(Tile::parse(path), Some(tile));
        }
    }

    #[test]
    fn paths_spelled_another_way_are_no_tiles() {
        for bad in [
            "tile/0/5",
            "tile/0/0005",
            "tile/0/x000/005",
            "tile/00/005",
            "tile/64/005",
            "tile/0/005.p/0",
            "tile/0/005.p/256",
            "tile/0/005.p/01",
            "tile/0/+05",
            "tile/0/005/",
            "tile/0/x05/005",
            "tile/0/001/005",
            "tile/entry/005",
            "tile/0",
            "tile/-1/005",
            "tile/0/005.p/",
            "Tile/0/005",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(Tile::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_tree_of_70_000_has_the_tiles_of_the_example() {
        let count = |level| (0..).map_while(|n| Tile::in_tree(Kind::Hashes(level), n, 70_000)).collect::<Vec<_>>();
        let full = |level| count(level).iter().filter(|tile| tile.width == WIDTH).count();
        assert_eq!((full(0), full(1), full(2), full(3)), (273, 1, 0, 0));
        assert_eq!((count(0).len(), count(1).len(), count(2).len(), count(3).len()), (274, 2, 1, 0));
        let partial: Vec<String> = Tile::partial_in_tree(70_000).iter().map(Tile::to_string).collect();
        assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1", "tile/entries/273.p/112"]);
        assert!(tile(Kind::Entries, 272, 256).is_part(70_000));
        assert!(!tile(Kind::Entries, 273, 111).is_part(70_000));
        assert!(!tile(Kind::Entries, 274, 1).is_part(70_000));
    }

    #[test]
    fn a_tree_that_fills_its_tiles_has_no_partial_ones_below() {
        let partial: Vec<String> = Tile::partial_in_tree(65_536).iter().map(Tile::to_string).collect();
        assert_eq!(partial, ["tile/2/000.p/1"]);
        assert!(Tile::partial_in_tree(0).is_empty());
        assert_eq!(hashes_at(8, u64::MAX), 0);
    }

    #[test]
    fn broken_bundles_and_tiles_are_refused() {
        assert_eq!(parse_entries(&[0, 1, 7, 0]), Err(Error::EntryTruncated { n: 1 }));
        assert_eq!(parse_entries(&[0, 1, 7, 0, 2, 9]), Err(Error::EntryTruncated { n: 1 }));
        assert_eq!(parse_entries(&[0; 2 * 257]), Err(Error::TooManyEntries));
        assert_eq!(parse_entries(&[0; 2 * 256]).unwrap().len(), 256);
        assert!(write_entries(&[vec![0; ENTRY_BYTES_MAX]]).is_ok());
        assert!(matches!(write_entries(&[vec![0; ENTRY_BYTES_MAX + 1]]), Err(Error::EntryTooLarge { .. })));
        assert_eq!(write_entries(&vec![Vec::new(); 257]), Err(Error::TooManyEntries));
        for bad in [0, 31, 33, 257 * 32] {
            assert_eq!(parse_hashes(&vec![0; bad]), Err(Error::Length { size_bytes: bad }));
        }
    }

    proptest! {
        #[test]
        fn entries_come_back_from_a_bundle(entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..256)) {
            let bytes = write_entries(&entries).unwrap();
            prop_assert_eq!(parse_entries(&bytes).unwrap(), entries);
        }

        #[test]
        fn arbitrary_bytes_and_paths_are_read_without_panic(bytes: Vec<u8>, path in "(tile/)?[0-9x/.pent]{0,30}") {
            let _ = parse_hashes(&bytes);
            if let Ok(entries) = parse_entries(&bytes) {
                let owned: Vec<Vec<u8>> = entries.into_iter().map(<[u8]>::to_vec).collect();
                prop_assert_eq!(write_entries(&owned).unwrap(), bytes);
            }
            if let Some(tile) = Tile::parse(&path) {
                prop_assert_eq!(tile.to_string(), path);
            }
        }
    }
}
