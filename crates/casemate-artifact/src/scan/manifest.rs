//! Weights that only a file beside them tells from noise: shards of TensorFlow.js under a name of their own.
//!
//! A shard is numbers from its first byte to its last. The loader finds it in the list of a `model.json` or of a weights
//! manifest, which gives type and shape of every tensor in it; where those come to exactly the bytes of the files listed,
//! the shard is what the list says. What has an unmistakable beginning, or does something when it is read, is judged as what
//! it is all the same, so that a list beside it hides nothing.
//!
//! Source: `weights_loader.ts` and `types.ts` of TensorFlow.js 4.22.

use casemate_core::{SharedSource, SourceExt};
use serde::Deserialize;

use super::beside::Beside;

/// Longest list read; that of a model of 10,000 tensors has 2 MB.
const MANIFEST_BYTES_MAX: u64 = 2 << 20;
/// Shards of one group: 4 MiB each is the custom, so this is 16 GiB.
const SHARDS_MAX: usize = 4096;

/// A model as TensorFlow.js saves it: its graph, and the list.
#[derive(Deserialize)]
struct Model {
    #[serde(rename = "weightsManifest")]
    groups: Vec<Group>,
}

/// Tensors that stand one behind the other in the files listed, as if those were one.
#[derive(Deserialize)]
struct Group {
    paths: Vec<String>,
    weights: Vec<Weight>,
}

#[derive(Deserialize)]
struct Weight {
    shape: Vec<u64>,
    dtype: String,
    quantization: Option<Quantization>,
}

#[derive(Deserialize)]
struct Quantization {
    dtype: String,
}

/// Whether a list beside the file at `path` says that its `size_bytes` bytes are tensors.
pub(super) fn declares(path: &str, size_bytes: u64, beside: &Beside<'_>) -> bool {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let Some(stem) = name.strip_suffix(".bin").filter(|stem| !stem.is_empty()) else { return false };
    let own = [format!("{stem}-weights_manifest.json"), format!("{stem}.json")];
    let lists = ["model.json", "weights_manifest.json"].into_iter().chain(own.iter().map(String::as_str));
    lists.filter_map(beside).any(|list| groups(&list).iter().any(|group| group.is(name, size_bytes, beside)))
}

/// The groups of a list, none where it is none.
fn groups(list: &SharedSource) -> Vec<Group> {
    if list.size_bytes() > MANIFEST_BYTES_MAX {
        return Vec::new();
    }
    let bytes = list.bytes_at(0, MANIFEST_BYTES_MAX).unwrap_or_default();
    let model = serde_json::from_slice(&bytes).map(|Model { groups }| groups);
    model.or_else(|_| serde_json::from_slice(&bytes)).unwrap_or_default()
}

impl Group {
    /// Whether the file `name` is listed, and all files listed come to the bytes of the tensors.
    fn is(&self, name: &str, size_bytes: u64, beside: &Beside<'_>) -> bool {
        let plain = |path: &String| !path.contains(['/', '\\', ':']) && path != "..";
        if self.paths.len() > SHARDS_MAX || !self.paths.iter().all(plain) || !self.paths.iter().any(|path| path == name)
        {
            return false;
        }
        let size = |path: &String| if path == name { Some(size_bytes) } else { beside(path).map(|it| it.size_bytes()) };
        let held = self.paths.iter().try_fold(0u64, |sum, path| sum.checked_add(size(path)?));
        let said = self.weights.iter().try_fold(0u64, |sum, weight| sum.checked_add(weight.bytes()?));
        held.is_some() && held == said
    }
}

impl Weight {
    fn bytes(&self) -> Option<u64> {
        let stored = self.quantization.as_ref().map_or(&self.dtype, |quantization| &quantization.dtype);
        let width: u64 = match stored.as_str() {
            "float32" | "int32" => 4,
            "float16" | "uint16" => 2,
            "uint8" | "bool" => 1,
            "complex64" => 8,
            // Texts carry their lengths in the shard.
            _ => return None,
        };
        self.shape.iter().try_fold(width, |bytes, dim| bytes.checked_mul(*dim))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use casemate_core::{Limits, MemorySource};

    use crate::formats::testing::stored_zip;
    use crate::{Scan, Scanner, Verdict};

    const NOISE: &[u8] = &[0xfe, 0, 1, 0xff, 3, 0xfd];
    const LIST: &str = r#"[{"paths": ["a.bin", "b.bin"], "weights": [
        {"name": "w", "shape": [2, 2], "dtype": "float32", "quantization": {"dtype": "uint8", "scale": 1, "min": 0}},
        {"name": "b", "shape": [], "dtype": "int32"}]}]"#;

    fn scan(name: &str, bytes: &[u8], others: &[(&str, &[u8])]) -> Scan {
        let beside = |wanted: &str| {
            let found = others.iter().find(|(name, _)| *name == wanted)?;
            Some(Arc::new(MemorySource::new(found.1)) as casemate_core::SharedSource)
        };
        Scanner::new(Limits::default()).scan_beside(name, Arc::new(MemorySource::new(bytes)), &beside)
    }

    #[test]
    fn shards_that_a_list_accounts_for_are_numbers() {
        let second: (&str, &[u8]) = ("b.bin", &[9, 9]);
        let model = format!(r#"{{"modelTopology": {{"x": [1]}}, "weightsManifest": {LIST}}}"#);
        for (name, list) in [("a-weights_manifest.json", LIST), ("model.json", &model)] {
            let found = scan("m/a.bin", NOISE, &[(name, list.as_bytes()), second]);
            assert_eq!((found.verdict, found.format, found.rests_on_others), (Verdict::Clean, "raw", true), "{name}");
        }
    }

    #[test]
    fn without_a_list_that_adds_up_they_cannot_be_told() {
        let second: (&str, &[u8]) = ("b.bin", &[9, 9]);
        let list = ("model.json", LIST.as_bytes());
        let elsewhere = LIST.replace("b.bin", "../b.bin");
        for (bytes, others) in [
            (NOISE, vec![]),
            (NOISE, vec![list]),
            (&NOISE[1..], vec![list, second]),
            (NOISE, vec![("model.json", &b"{\"weightsManifest\": 1}"[..]), second]),
            (NOISE, vec![("model.json", elsewhere.as_bytes()), second]),
            (NOISE, vec![("other.json", LIST.as_bytes()), second]),
        ] {
            assert_eq!(scan("m/a.bin", bytes, &others).verdict, Verdict::Unscannable, "{}", others.len());
        }
        let overflow = br#"[{"paths": ["a.bin"], "weights": [{"shape": [4294967296, 4294967296], "dtype": "int32"}]}]"#;
        assert_eq!(scan("a.bin", NOISE, &[("model.json", overflow)]).verdict, Verdict::Unscannable);
    }

    #[test]
    fn a_list_hides_nothing() {
        for hostile in
            [&b"\x80\x04\x8c\x02os\x8c\x06system\x93(\x8c\x04truetR.\xff"[..], b"cos\nsystem\n(S'true'\ntR.\xff"]
        {
            let list =
                format!(r#"[{{"paths": ["a.bin"], "weights": [{{"shape": [{}], "dtype": "uint8"}}]}}]"#, hostile.len());
            assert_eq!(scan("a.bin", hostile, &[("model.json", list.as_bytes())]).verdict, Verdict::Malicious);
        }
    }

    #[test]
    fn members_of_an_archive_have_each_other() {
        let members = [("m/model.json", LIST.as_bytes()), ("m/a.bin", NOISE), ("m/b.bin", &[9, 9])];
        let verdict = |members: &[(&str, &[u8])]| {
            let bytes = stored_zip(b"", members);
            Scanner::new(Limits::default()).scan("x.zip", Arc::new(MemorySource::new(bytes))).verdict
        };
        assert_eq!(verdict(&members), Verdict::Clean);
        let elsewhere = [("n/model.json", LIST.as_bytes()), members[1], members[2]];
        assert_eq!(verdict(&elsewhere), Verdict::Unscannable);
    }
}
