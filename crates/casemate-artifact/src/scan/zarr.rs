//! Chunks of Zarr arrays, as Orbax and tensorstore keep them: told by the `.zarray` or `zarr.json` of their array.
//!
//! A chunk is numbers, often packed, under a name of digits. It is taken for that where its length, or what a packer puts in
//! front, agrees with what its array says, and the array has no filter: one of them is `pickle`, which is a finding of the
//! description itself. What is inside of a packed chunk is looked at by content as always.
//!
//! Source: Zarr storage specification, versions 2 and 3; the header of Blosc 1.

use casemate_core::{SharedSource, SourceExt};
use serde::Deserialize;
use serde_json::Value;

use super::beside::Beside;
use crate::formats::npy_kind;
use crate::formats::reading::u32_le;

/// Longest description read; ordinary ones have a kilobyte.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 18;
/// Folders between a chunk and its array: one for each dimension.
const LEVELS_MAX: usize = 32;

/// `.zarray`, version 2.
#[derive(Deserialize)]
struct Array2 {
    chunks: Vec<u64>,
    dtype: String,
    compressor: Option<Codec2>,
    filters: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Codec2 {
    id: String,
}

/// `zarr.json`, version 3.
#[derive(Deserialize)]
struct Array3 {
    data_type: String,
    chunk_grid: Grid,
    codecs: Vec<Codec3>,
}

#[derive(Deserialize)]
struct Grid {
    configuration: GridShape,
}

#[derive(Deserialize)]
struct GridShape {
    chunk_shape: Vec<u64>,
}

#[derive(Deserialize)]
struct Codec3 {
    name: String,
}

/// What an array says of each of its chunks.
struct Chunk {
    bytes: u64,
    packed: Option<String>,
}

/// Whether a file has the name of a chunk: `0.1`, `c/0/1`, `c.0.1`.
pub(super) fn is_chunk(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name == "c" || name.strip_prefix("c.").unwrap_or(name).split('.').all(is_number)
}

/// Whether its array describes the chunk at `path`.
pub(super) fn declares(path: &str, source: &SharedSource, beside: &Beside<'_>) -> bool {
    is_chunk(path) && described(path, beside).is_some_and(|chunk| chunk.is(source))
}

fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn described(path: &str, beside: &Beside<'_>) -> Option<Chunk> {
    let mut folders = path.rsplit('/').skip(1).take(LEVELS_MAX).peekable();
    let mut above = String::new();
    while folders.next_if(|folder| is_number(folder)).is_some() {
        above.push_str("../");
    }
    let third = folders.next_if(|folder| *folder == "c").map(|_| format!("../{above}"));
    let description = |name: &str, above: &str| {
        let found = beside(&format!("{above}{name}")).filter(|found| found.size_bytes() <= DESCRIPTION_BYTES_MAX)?;
        found.bytes_at(0, DESCRIPTION_BYTES_MAX).ok()
    };
    if let Some(bytes) = description("zarr.json", third.as_deref().unwrap_or(&above)) {
        return serde_json::from_slice::<Array3>(&bytes).ok()?.chunk();
    }
    serde_json::from_slice::<Array2>(&description(".zarray", &above)?).ok()?.chunk()
}

impl Array2 {
    fn chunk(self) -> Option<Chunk> {
        let (width, is_object) = npy_kind(&self.dtype)?;
        let plain = !is_object && self.filters.is_none_or(|filters| filters.is_empty());
        Some(Chunk { bytes: bytes_of(&self.chunks, width)?, packed: self.compressor.map(|codec| codec.id) })
            .filter(|_| plain)
    }
}

impl Array3 {
    fn chunk(self) -> Option<Chunk> {
        let width = match self.data_type.as_str() {
            "bool" | "int8" | "uint8" => 1,
            "int16" | "uint16" | "float16" | "bfloat16" => 2,
            "int32" | "uint32" | "float32" => 4,
            "int64" | "uint64" | "float64" | "complex64" => 8,
            "complex128" => 16,
            _ => return None,
        };
        let mut chunk = Chunk { bytes: bytes_of(&self.chunk_grid.configuration.chunk_shape, width)?, packed: None };
        for Codec3 { name } in self.codecs {
            match name.as_str() {
                "bytes" | "transpose" => {}
                // The sum stands behind the numbers.
                "crc32c" if chunk.packed.is_none() => chunk.bytes = chunk.bytes.checked_add(4)?,
                "gzip" | "zstd" | "blosc" if chunk.packed.is_none() => chunk.packed = Some(name),
                _ => return None,
            }
        }
        Some(chunk)
    }
}

fn bytes_of(shape: &[u64], width: u64) -> Option<u64> {
    shape.iter().try_fold(width, |bytes, dim| bytes.checked_mul(*dim))
}

impl Chunk {
    /// Whether a file is this chunk, as far as its length and its beginning tell.
    fn is(&self, source: &SharedSource) -> bool {
        let size = source.size_bytes();
        let Some(packed) = &self.packed else { return size == self.bytes };
        let head = source.bytes_at(0, 16).unwrap_or_default();
        match packed.as_str() {
            "zstd" => head.starts_with(b"\x28\xb5\x2f\xfd"),
            "gzip" => head.starts_with(b"\x1f\x8b"),
            "zlib" => matches!(head.as_slice(), [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..]),
            "bz2" => head.starts_with(b"BZh"),
            // Version 2 of its format; bytes unpacked and packed at 4 and 12.
            "blosc" => {
                let field = |at| u32_le(&head, at).map(u64::from);
                head.first() == Some(&2) && field(4) == Some(self.bytes) && field(12) == Some(size)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use casemate_core::{Limits, MemorySource};

    use crate::formats::testing::stored_zip;
    use crate::{Scan, Scanner, Verdict};

    const NOISE: &[u8] = &[0xfe, 0, 1, 0xff, 3, 0xfd, 0xfb, 0x99];

    fn array2(chunks: &str, rest: &str) -> String {
        format!(r#"{{"zarr_format": 2, "shape": [8, 2], "chunks": {chunks}, "dtype": "<i2", "order": "C", {rest}}}"#)
    }

    fn scan(members: &[(&str, &[u8])]) -> Scan {
        let bytes = stored_zip(b"", members);
        Scanner::new(Limits::default()).scan("x.zip", Arc::new(MemorySource::new(bytes)))
    }

    fn verdict(members: &[(&str, &[u8])]) -> Verdict {
        scan(members).verdict
    }

    const PLAIN: &str = r#""compressor": null, "filters": null"#;

    #[test]
    fn chunks_that_their_array_describes_are_numbers() {
        let two = array2("[2, 2]", PLAIN);
        let two: &[u8] = two.as_bytes();
        for name in ["w/0.0", "w/3/1"] {
            assert_eq!(verdict(&[("w/.zarray", two), (name, NOISE)]), Verdict::Clean, "{name}");
        }
        let three = |codecs: &str| {
            let grid = r#"{"name": "regular", "configuration": {"chunk_shape": [4]}}"#;
            format!(r#"{{"zarr_format": 3, "data_type": "int16", "chunk_grid": {grid}, "codecs": [{codecs}]}}"#)
        };
        let plain = three(r#"{"name": "bytes"}"#);
        for name in ["w/c/1", "w/c.1"] {
            assert_eq!(verdict(&[("w/zarr.json", plain.as_bytes()), (name, NOISE)]), Verdict::Clean, "{name}");
        }
        let sharded = three(r#"{"name": "sharding_indexed"}"#);
        assert_eq!(verdict(&[("w/zarr.json", sharded.as_bytes()), ("w/c/1", NOISE)]), Verdict::Unscannable);
    }

    #[test]
    fn packed_chunks_are_looked_into() {
        let zlib = array2("[2, 2]", r#""compressor": {"id": "zlib", "level": 1}, "filters": null"#);
        let packed = |bytes: &[u8]| {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(verdict(&[("w/.zarray", zlib.as_bytes()), ("w/0.0", &packed(NOISE))]), Verdict::Clean);
        let pickle = b"\x80\x04\x8c\x02os\x8c\x06system\x93(\x8c\x04truetR.";
        assert_eq!(verdict(&[("w/.zarray", zlib.as_bytes()), ("w/0.0", &packed(pickle))]), Verdict::Malicious);
        let blosc = array2("[2, 2]", r#""compressor": {"id": "blosc", "cname": "lz4"}, "filters": null"#);
        let chunk = [&b"\x02\x01\x02\x02\x08\0\0\0\x08\0\0\0\x18\0\0\0"[..], NOISE].concat();
        assert_eq!(verdict(&[("w/.zarray", blosc.as_bytes()), ("w/0.0", &chunk)]), Verdict::Clean);
        assert_eq!(verdict(&[("w/.zarray", blosc.as_bytes()), ("w/0.0", &chunk[..20])]), Verdict::Unscannable);
    }

    #[test]
    fn what_no_array_describes_cannot_be_told() {
        let two = array2("[2, 2]", PLAIN);
        let other = array2("[2, 3]", PLAIN);
        let delta = array2("[2, 2]", r#""compressor": null, "filters": [{"id": "delta"}]"#);
        let huge = array2("[4294967296, 4294967296]", PLAIN);
        for (name, array) in [("v/.zarray", &two), ("w/.zarray", &other), ("w/.zarray", &delta), ("w/.zarray", &huge)] {
            assert_eq!(verdict(&[(name, array.as_bytes()), ("w/0.0", NOISE)]), Verdict::Unscannable, "{array}");
        }
        assert_eq!(verdict(&[("w/.zarray", two.as_bytes()), ("w/zero", NOISE)]), Verdict::Unscannable);
    }

    #[test]
    fn chunks_that_are_unpickled_are_a_finding_of_the_description() {
        let rest = r#""compressor": null, "filters": [{"id": "pickle", "protocol": 5}]"#;
        let pickled = array2("[1]", rest).replace("<i2", "|O");
        let found = scan(&[("w/.zarray", pickled.as_bytes())]);
        assert_eq!(found.verdict, Verdict::Suspicious, "{:?}", found.findings);
        assert_eq!(found.findings[0].rule, "configured-callable");
        let words = pickled.replace("pickle", "vlen-utf8");
        assert_eq!(verdict(&[("w/.zarray", words.as_bytes())]), Verdict::Clean);
    }
}
