//! The JSON header, read with nothing forgiven: a duplicate key is what one reader sees first and another last.

use std::collections::HashSet;
use std::fmt;

use casemate_core::Limits;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::formats::reading::{Allowance, quote};
use crate::{Malformed, Trouble};

/// Dimensions of one tensor; no framework has more than 64.
const DIMS_MAX: usize = 256;

/// One tensor as the header describes it.
#[derive(Default)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: String,
    pub(super) shape: Vec<u64>,
    pub(super) offsets: (u64, u64),
}

/// What could be read of a header, up to where it broke.
pub(super) struct Header<'a> {
    limits: &'a Limits,
    allowance: Allowance,
    pub(super) entries: Vec<Entry>,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) troubles: Vec<Malformed>,
}

impl<'a> Header<'a> {
    /// An empty header.
    pub(super) fn new(limits: &'a Limits) -> Self {
        let (entries, metadata, troubles) = (Vec::new(), Vec::new(), Vec::new());
        Self { limits, allowance: Allowance::new(), entries, metadata, troubles }
    }

    /// Reads the header; what was read before an error stays. `serde_json` refuses more than 128 levels of nesting.
    pub(super) fn read(&mut self, json: &[u8]) -> serde_json::Result<()> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        deserializer.deserialize_map(&mut *self)?;
        deserializer.end()
    }

    fn ambiguous(&mut self, what: String) {
        if (self.troubles.len() as u64) < self.limits.findings_max {
            self.troubles.push(Malformed::new(Trouble::Ambiguous, 8, what));
        }
    }

    /// Counts one more entry of `bytes` bytes.
    fn count<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        let entries = (self.entries.len() + self.metadata.len()) as u64;
        if entries < self.limits.entries_max && self.allowance.take(bytes) {
            return Ok(());
        }
        self.troubles.push(Malformed::new(Trouble::Limit, 8, format!("more than {entries} entries are not read")));
        Err(E::custom("too many entries"))
    }
}

impl<'de> Visitor<'de> for &mut Header<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut metadata_seen = false;
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                if std::mem::replace(&mut metadata_seen, true) {
                    self.ambiguous("two `__metadata__` objects".into());
                }
                map.next_value_seed(Metadata(self))?;
                continue;
            }
            let entry = map.next_value_seed(Info { header: self, name })?;
            self.count(entry.name.len() + entry.dtype.len() + 8 * entry.shape.len())?;
            self.entries.push(entry);
        }
        Ok(())
    }
}

struct Metadata<'h, 'a>(&'h mut Header<'a>);

impl<'de> DeserializeSeed<'de> for Metadata<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts under `__metadata__`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some((key, text)) = map.next_entry::<String, String>()? {
            self.0.count(key.len() * 2 + text.len())?;
            if !seen.insert(key.clone()) {
                self.0.ambiguous(format!("metadata key {} stands twice", quote(&key)));
            }
            self.0.metadata.push((key, text));
        }
        Ok(())
    }
}

struct Info<'h, 'a> {
    header: &'h mut Header<'a>,
    name: String,
}

impl<'de> DeserializeSeed<'de> for Info<'_, '_> {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Info<'_, '_> {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `dtype`, `shape` and `data_offsets`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            let twice = match key.as_str() {
                "dtype" => dtype.replace(map.next_value()?).is_some(),
                "shape" => shape.replace(map.next_value::<Shape>()?.0).is_some(),
                "data_offsets" => offsets.replace(map.next_value()?).is_some(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    let what = format!("tensor {} has the unknown field {}", quote(&self.name), quote(&key));
                    self.header.ambiguous(what);
                    false
                }
            };
            if twice {
                self.header.ambiguous(format!("tensor {} has {} twice", quote(&self.name), quote(&key)));
            }
        }
        let missing = |field| A::Error::custom(format_args!("tensor {} has no `{field}`", quote(&self.name)));
        Ok(Entry {
            dtype: dtype.ok_or_else(|| missing("dtype"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
            offsets: offsets.ok_or_else(|| missing("data_offsets"))?,
            name: self.name,
        })
    }
}

/// A shape whose length is bounded while it is read: two bytes of text make eight of memory.
struct Shape(Vec<u64>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Dims)
    }
}

struct Dims;

impl<'de> Visitor<'de> for Dims {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        let mut dims = Vec::new();
        while let Some(dim) = seq.next_element()? {
            if dims.len() >= DIMS_MAX {
                return Err(A::Error::custom(format_args!("more than {DIMS_MAX} dimensions")));
            }
            dims.push(dim);
        }
        Ok(Shape(dims))
    }
}
