//! What the messages of an object's header say: groups, datasets, and where their data lies.

use std::sync::Arc;

use casemate_core::RangeSource;

use super::File;
use super::attribute::{Datatype, STRING, VARIABLE, count, dimensions};
use super::fields::{Fields, until_nul};
use super::header::Message;
use crate::formats::reading::quote;
use crate::{Child, Malformed, Role, Tensor, Trouble};

/// Elements of variable length read of one dataset at once.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// A dataset, as far as its messages have been read.
#[derive(Default)]
pub(super) struct Dataset {
    pub(super) datatype: Option<Datatype>,
    pub(super) dimensions: Vec<u64>,
    pub(super) filtered: bool,
    pub(super) external: bool,
    layout: Option<Fields>,
}

impl Dataset {
    /// Bytes of its elements.
    fn len(&self) -> Option<u64> {
        count(&self.dimensions)?.checked_mul(self.datatype?.size)
    }
}

impl File<'_, '_> {
    /// Follows what the messages of one object announce.
    pub(super) fn describe(&mut self, path: &str, messages: Vec<Message>) -> Result<(), Malformed> {
        let mut dataset = Dataset::default();
        for message in messages {
            let at = message.data.start;
            if let Err(malformed) = self.message(path, message, &mut dataset) {
                if matches!(malformed.trouble, Trouble::Limit | Trouble::Unreadable) {
                    return Err(malformed);
                }
                self.report(Malformed { offset: malformed.offset.or(Some(at)), ..malformed });
            }
        }
        match dataset.layout.take() {
            Some(layout) => self.data(path, &dataset, layout),
            None => Ok(()),
        }
    }

    fn message(&mut self, path: &str, message: Message, dataset: &mut Dataset) -> Result<(), Malformed> {
        let mut data = message.data;
        if message.shared {
            return self.shared(path, message.kind, data);
        }
        match message.kind {
            1 => dataset.dimensions = dimensions(&mut data)?,
            3 => dataset.datatype = Some(Datatype::read(&mut data)?),
            8 => dataset.layout = Some(data),
            7 => {
                dataset.external = true;
                self.external_files(path, data)?;
            }
            0xb => dataset.filtered = true,
            0x11 => self.symbol_table(path, data)?,
            6 => self.link(path, data)?,
            2 | 0x15 => self.dense(path, Message { data, ..message })?,
            0xc => self.attribute(path, Message { data, ..message })?,
            0x14 => self.undecoded(data.start, "a driver other than the plain file's is named"),
            _ => {}
        }
        Ok(())
    }

    /// A message stored elsewhere: committed datatypes are objects, for the rest the file has a table.
    fn shared(&mut self, path: &str, kind: u16, mut data: Fields) -> Result<(), Malformed> {
        let (version, place) = (data.u8()?, data.u8()?);
        data.take(if version == 1 { 6 } else { 0 })?;
        let in_heap = version == 3 && place == 1;
        if kind == 3 && !in_heap {
            let address = data.offset_field()?;
            self.waiting.push((format!("{path} (type)"), address));
        } else if !matches!(kind, 4 | 5) {
            self.undecoded(data.start, format!("message {kind} of {} is stored elsewhere and not read", quote(path)));
        }
        Ok(())
    }

    /// Raw data in other files: each is opened by name and read.
    fn external_files(&mut self, path: &str, mut data: Fields) -> Result<(), Malformed> {
        data.take(6)?;
        let (used, heap) = (data.u16()?, data.offset_field()?);
        let mut head = self.block(heap, 8 + 2 * self.length_size + self.offset_size, b"HEAP")?;
        head.take(8)?;
        let (len, _, names) = (head.length_field()?, head.length_field()?, head.offset_field()?);
        self.claim(heap, head.bytes.len() as u64);
        let bytes = self.bytes(names, len)?;
        for _ in 0..used {
            let (name, _, _) = (data.length_field()?, data.length_field()?, data.length_field()?);
            let rest = usize::try_from(name).ok().and_then(|name| bytes.get(name..)).unwrap_or_default();
            let target = until_nul(rest);
            self.claim(names.saturating_add(name), target.len() as u64 + 1);
            self.refer(path, target, data.start);
        }
        Ok(())
    }

    fn data(&mut self, path: &str, dataset: &Dataset, mut layout: Fields) -> Result<(), Malformed> {
        let version = layout.u8()?;
        let (span, start) = match version {
            1 | 2 => self.layout_old(path, dataset, layout)?,
            3 | 4 => match layout.u8()? {
                0 => {
                    let len = u64::from(layout.u16()?);
                    let at = layout.offset();
                    (Some(len), at.saturating_sub(self.base))
                }
                1 => (None, self.contiguous(path, dataset, &mut layout)?),
                2 if version == 3 => return self.chunked(path, dataset, layout),
                2 => return self.chunked_new(path, dataset, layout),
                3 => return self.virtual_sources(path, layout),
                class => {
                    let what = format!("layout of {} is of the unknown class {class}", quote(path));
                    return Err(Malformed::new(Trouble::Undecodable, layout.start, what));
                }
            },
            _ => {
                let what = format!("layout of version {version}");
                return Err(Malformed::new(Trouble::Undecodable, layout.start, what));
            }
        };
        let absent = self.undefined(start) || dataset.external;
        let len = if absent { 0 } else { span.or(dataset.len()).unwrap_or(0) };
        self.tensor(path, dataset, (!absent).then_some((start, len)))?;
        self.elements(path, dataset, start, len)
    }

    /// The address of data in one piece, whose length has to be that of the elements.
    fn contiguous(&mut self, path: &str, dataset: &Dataset, layout: &mut Fields) -> Result<u64, Malformed> {
        let (address, len) = (layout.offset_field()?, layout.length_field()?);
        if self.undefined(address) || dataset.external {
            return Ok(u64::MAX);
        }
        if let Some(needed) = dataset.len().filter(|needed| *needed != len) {
            let what = format!("{} has {len} bytes of data, {needed} by its shape", quote(path));
            self.report(Malformed::new(Trouble::Ambiguous, layout.start, what));
        }
        self.claim_data(address, dataset.len().unwrap_or(len), "a dataset");
        Ok(address)
    }

    /// Layouts of the first two versions: length of compact data, address of the rest.
    fn layout_old(
        &mut self,
        path: &str,
        dataset: &Dataset,
        mut layout: Fields,
    ) -> Result<(Option<u64>, u64), Malformed> {
        let (rank, class) = (layout.u8()?, layout.u8()?);
        layout.take(5)?;
        let address = if class == 0 { u64::MAX } else { layout.offset_field()? };
        layout.take(4 * u64::from(rank))?;
        match class {
            0 => {
                let len = layout.uint(4)?;
                Ok((Some(len), layout.offset().saturating_sub(self.base)))
            }
            1 => {
                let len = dataset.len().unwrap_or(0);
                if !self.undefined(address) && !dataset.external {
                    self.claim_data(address, len, "a dataset");
                }
                Ok((Some(len), address))
            }
            _ => {
                self.chunk_tree(address, u64::from(rank), dataset.filtered)?;
                self.undecoded(layout.start, format!("{} is laid out as the first libraries did", quote(path)));
                Ok((Some(0), u64::MAX))
            }
        }
    }

    /// Lists a dataset; numbers in one piece are looked at for unmistakable magic.
    pub(super) fn tensor(&mut self, path: &str, dataset: &Dataset, span: Option<(u64, u64)>) -> Result<(), Malformed> {
        let size = self.object.source.size_bytes();
        let span = span.and_then(|(address, len)| {
            let start = self.base.checked_add(address)?;
            Some(start..start.checked_add(len).filter(|end| *end <= size)?)
        });
        if !self.allowance.take(2 * path.len() + 8 * dataset.dimensions.len()) {
            return Err(Malformed::new(Trouble::Limit, self.base, "the list of datasets needs too much memory"));
        }
        let dtype = dataset.datatype.map_or("unknown".into(), Datatype::word);
        if let Some(span) = span.clone().filter(|span| !span.is_empty()) {
            self.object.budget.member(self.object.limits)?;
            let inner = Arc::clone(self.object.source);
            let source = Arc::new(RangeSource::new(inner, span.start, span.end - span.start));
            self.parsed.children.push(Child { name: path.into(), source, role: Role::RawData });
        }
        self.parsed.tensors.push(Tensor { name: path.into(), dtype, shape: dataset.dimensions.clone(), span });
        Ok(())
    }

    /// Texts in the data itself, as far as they are few; texts of variable length have their bytes in heaps.
    pub(super) fn elements(&mut self, path: &str, dataset: &Dataset, start: u64, len: u64) -> Result<(), Malformed> {
        let Some(datatype) = dataset.datatype.filter(|datatype| matches!(datatype.class, STRING | VARIABLE)) else {
            return Ok(());
        };
        if self.undefined(start) || len == 0 {
            return Ok(());
        }
        if len > TEXT_BYTES_MAX {
            let what = format!("texts of {} are not read: too many", quote(path));
            return Err(Malformed::new(Trouble::Limit, self.base.saturating_add(start), what));
        }
        let mut data = self.fields(start, len)?;
        let each = if datatype.class == STRING { datatype.size } else { 8 + self.offset_size };
        self.texts(path, datatype, len.checked_div(each), &mut data)
    }
}
