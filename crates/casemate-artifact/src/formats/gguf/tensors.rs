//! The table of tensors and the place of each.

use std::collections::HashSet;

use super::{Reader, types};
use crate::formats::reading::quote;
use crate::{Malformed, Tensor, Trouble};

/// ggml's bound on dimensions.
const DIMS_MAX: u32 = 4;

/// One row of the table.
struct Info {
    name: String,
    dims: Vec<u64>,
    kind: u32,
    offset: u64,
}

impl Reader<'_, '_> {
    /// Reads the table, then claims the header and each tensor.
    pub(super) fn tensors(&mut self, count: u64) -> Result<(), Malformed> {
        let (mut infos, mut outcome) = (Vec::new(), Ok(()));
        for n in 0..count {
            let start = self.at;
            let info = match self.info() {
                Ok(info) => info,
                Err(malformed) => {
                    outcome = Err(malformed);
                    break;
                }
            };
            let held = info.name.len().saturating_mul(2).saturating_add(8 * info.dims.len());
            if n >= self.limits.entries_max || !self.allowance.take(held) {
                outcome =
                    Err(Malformed::new(Trouble::Limit, start, format!("tensors after the first {n} are not read")));
                break;
            }
            infos.push(info);
        }
        self.parsed.claims.add(0..self.at);
        let mut names = HashSet::with_capacity(infos.len());
        let twice: Vec<String> = infos
            .iter()
            .filter(|info| !names.insert(info.name.as_str()))
            .map(|info| quote(&info.name))
            .take(1000)
            .collect();
        drop(names);
        for name in twice {
            self.ambiguous(self.at, format!("two tensors are called {name}"));
        }
        if outcome.is_ok() {
            let data_start = self.at.checked_next_multiple_of(self.alignment).unwrap_or(u64::MAX);
            // In file order: claims made in order cost nothing.
            infos.sort_by_key(|info| info.offset);
            infos.into_iter().for_each(|info| self.place(info, data_start));
        }
        outcome
    }

    fn info(&mut self) -> Result<Info, Malformed> {
        let name = self.string(u64::from(u16::MAX), "tensor name")?;
        let (start, n_dims) = (self.at, self.u32()?);
        if n_dims > DIMS_MAX {
            let what = format!("tensor {} has {n_dims} dimensions, more than {DIMS_MAX}", quote(&name));
            return Err(Malformed::new(Trouble::Ambiguous, start, what));
        }
        let dims = (0..n_dims).map(|_| self.count()).collect::<Result<Vec<u64>, _>>()?;
        Ok(Info { name, dims, kind: self.u32()?, offset: self.u64()? })
    }

    fn place(&mut self, info: Info, data_start: u64) {
        let (size, name) = (self.window.size_bytes(), quote(&info.name));
        let start = data_start.saturating_add(info.offset);
        if !info.offset.is_multiple_of(self.alignment) {
            self.ambiguous(start, format!("tensor {name} is not aligned to {} bytes", self.alignment));
        }
        let (mut dtype, mut span) = (format!("type {}", info.kind), None);
        match types::of(info.kind) {
            None => {
                let what = format!("tensor {name} has the unknown type {}", info.kind);
                self.report(Malformed::new(Trouble::Undecodable, start, what));
            }
            Some((word, block, bytes)) => {
                dtype = if self.big_endian { format!(">{word}") } else { word.into() };
                match types::bytes_of(&info.dims, block, bytes).and_then(|len| start.checked_add(len)) {
                    Some(end) if end <= size => span = Some(start..end),
                    Some(end) => {
                        self.ambiguous(start, format!("tensor {name} ends at byte {end}, past the file's {size}"))
                    }
                    None => self.ambiguous(start, format!("dimensions of tensor {name} do not make a size")),
                }
            }
        }
        if let Some(span) = span.clone()
            && self.parsed.claims.add(span)
        {
            self.ambiguous(start, format!("tensor {name} shares bytes with another"));
        }
        self.parsed.tensors.push(Tensor { name: info.name, dtype, shape: info.dims, span });
    }
}
