//! Attributes: texts, and Keras configurations among them. Also datatypes and dataspaces, which datasets share.

use std::sync::Arc;

use casemate_core::MemorySource;

use super::File;
use super::fields::{Fields, until_nul};
use super::header::Message;
use crate::formats::json;
use crate::formats::reading::{plain, quote, text_kind};
use crate::{Malformed, Text, Trouble};

/// What a datatype says, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Datatype {
    pub(super) class: u8,
    /// Bytes of one element; of variable ones, of the pointer.
    pub(super) size: u64,
    /// Whether numbers have their most significant byte first.
    pub(super) big_endian: bool,
}

/// Attributes Keras reads as JSON; in others a brace may be a brace.
const CONFIGURATIONS: &[&str] = &["model_config", "training_config"];

pub(super) const STRING: u8 = 3;
pub(super) const VARIABLE: u8 = 9;

impl Datatype {
    pub(super) fn read(fields: &mut Fields) -> Result<Self, Malformed> {
        let class = fields.u8()? & 15;
        let big_endian = fields.u8()? & 1 == 1;
        fields.take(2)?;
        Ok(Self { class, size: fields.uint(4)?, big_endian })
    }

    /// A word for it.
    pub(super) fn word(self) -> String {
        let bits = self.size.saturating_mul(8);
        match self.class {
            0 | 4 => format!("int{bits}"),
            1 if self.big_endian => format!(">float{bits}"),
            1 => format!("float{bits}"),
            STRING => "string".into(),
            5 => "opaque".into(),
            6 => "compound".into(),
            7 => "reference".into(),
            8 => "enum".into(),
            VARIABLE => "variable".into(),
            class => format!("class{class}"),
        }
    }
}

/// The dimensions of a dataspace; none for a scalar, `[0]` for one without elements.
pub(super) fn dimensions(fields: &mut Fields) -> Result<Vec<u64>, Malformed> {
    let (version, rank, _) = (fields.u8()?, fields.u8()?, fields.u8()?);
    let kind = match version {
        1 => fields.take(5).map(|_| 1)?,
        2 => fields.u8()?,
        _ => return Err(Malformed::new(Trouble::Undecodable, fields.start, format!("dataspace of version {version}"))),
    };
    if kind == 2 {
        return Ok(vec![0]);
    }
    (0..rank).map(|_| fields.length_field()).collect()
}

/// Number of elements; `None` where it cannot be counted.
pub(super) fn count(dimensions: &[u64]) -> Option<u64> {
    dimensions.iter().try_fold(1u64, |product, n| product.checked_mul(*n))
}

impl File<'_, '_> {
    /// Reads an attribute; its texts are handed on under the object's path.
    pub(super) fn attribute(&mut self, path: &str, message: Message) -> Result<(), Malformed> {
        let mut data = message.data;
        let (version, flags) = (data.u8()?, data.u8()?);
        if !(1..=3).contains(&version) {
            let what = format!("attribute of version {version}");
            return Err(Malformed::new(Trouble::Undecodable, data.start, what));
        }
        let sizes = [data.u16()?, data.u16()?, data.u16()?];
        data.take(if version == 3 { 1 } else { 0 })?;
        let [name, datatype, dataspace] =
            sizes.map(|size| if version == 1 { u64::from(size).next_multiple_of(8) } else { u64::from(size) });
        let name = String::from_utf8_lossy(&data.text(name)?).into_owned();
        let (mut datatype, mut dataspace) = (data.part(datatype)?, data.part(dataspace)?);
        if version > 1 && flags & 3 != 0 {
            self.undecoded(data.start, format!("the type of attribute {} is stored elsewhere", quote(&name)));
            return Ok(());
        }
        let datatype = Datatype::read(&mut datatype)?;
        let elements = count(&dimensions(&mut dataspace)?);
        let key = self.join(path, &name, data.start)?;
        self.texts(&key, datatype, elements, &mut data)
    }

    /// The texts among so many elements.
    pub(super) fn texts(
        &mut self,
        key: &str,
        datatype: Datatype,
        elements: Option<u64>,
        data: &mut Fields,
    ) -> Result<(), Malformed> {
        let each = match datatype.class {
            STRING => datatype.size,
            VARIABLE => 8 + self.offset_size,
            _ => return Ok(()),
        };
        let fits = elements.and_then(|n| n.checked_mul(each)).is_some_and(|len| len <= data.left());
        if !fits {
            let what = format!("{} holds more elements than bytes", quote(key));
            return Err(Malformed::new(Trouble::Undecodable, data.start, what));
        }
        // Elements without bytes are no texts, however many.
        let elements = if each == 0 { 0 } else { elements.unwrap_or(0) };
        for _ in 0..elements {
            let (at, bytes) = match datatype.class {
                VARIABLE => self.variable(data)?,
                _ => (data.offset(), data.text(each)?),
            };
            self.text(key, until_nul(&bytes), at)?;
        }
        Ok(())
    }

    /// Hands on a text, and what a configuration in it restores.
    pub(super) fn text(&mut self, key: &str, bytes: &[u8], offset: u64) -> Result<(), Malformed> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.allowance.take(key.len().saturating_add(bytes.len())) {
            return Err(Malformed::new(Trouble::Limit, offset, "texts need too much memory"));
        }
        if matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')) {
            let first = self.parsed.serialized.len();
            let source = MemorySource::new(Arc::<[u8]>::from(bytes));
            let required = CONFIGURATIONS.iter().any(|name| key.rsplit('/').next() == Some(name));
            json::embedded(&source, required.then_some(offset), self.object.limits, self.parsed, &mut self.allowance);
            for serialized in self.parsed.serialized.iter_mut().skip(first) {
                let prefix = plain(key);
                if self.allowance.take(prefix.len()) {
                    let inner = std::mem::take(&mut serialized.key);
                    serialized.key = if inner.is_empty() { prefix } else { [prefix, inner].join(":") };
                }
            }
        }
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.parsed.texts.push(Text { kind: text_kind(&text), key: key.into(), text, offset: Some(offset) });
        Ok(())
    }
}
