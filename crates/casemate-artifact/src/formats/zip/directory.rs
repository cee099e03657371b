//! The central directory: where readers look for it, and what it lists.

use std::ops::Range;

use super::records::{self, Central};
use super::{Archive, Malformed, Probe, Trouble, unreadable};
use crate::formats::reading::{u16_le, u32_le};

/// What the directory lists, by ascending offset, with the ranges of its own records.
#[derive(Default)]
pub(super) struct Directory {
    pub(super) entries: Vec<Central>,
    pub(super) records: Vec<Range<u64>>,
    /// Offsets of other end records that would close the file as well.
    pub(super) rivals: Vec<u64>,
    /// How many directories were walked.
    walked: u32,
}

/// An end record found in the tail.
pub(super) struct End {
    at: u64,
    count: u64,
    size: u64,
    offset: u64,
    /// Where the record and its comment end, as written.
    end: u64,
    /// Whether the directory it describes lies before it.
    pub(super) fits: bool,
}

/// The end records in the tail, last first: the order in which readers search.
pub(super) fn ends(probe: &Probe) -> Vec<End> {
    let tail_at = probe.size_bytes.saturating_sub(probe.tail.len() as u64);
    let starts = probe.tail.windows(22).enumerate().filter(|(_, bytes)| bytes.starts_with(records::END));
    let mut ends: Vec<End> = starts.filter_map(|(n, bytes)| end(tail_at + n as u64, bytes)).collect();
    ends.reverse();
    ends
}

fn end(at: u64, bytes: &[u8]) -> Option<End> {
    let (count, comment) = (u16_le(bytes, 10)?.into(), u16_le(bytes, 20)?);
    let (size, offset) = (u64::from(u32_le(bytes, 12)?), u64::from(u32_le(bytes, 16)?));
    let wide = offset == u64::from(u32::MAX) || size == u64::from(u32::MAX);
    let holds = size.checked_add(offset).is_some_and(|end| end <= at) && (count == 0) == (size == 0);
    Some(End { at, count, size, offset, end: at + 22 + u64::from(comment), fits: wide || holds })
}

impl Archive<'_, '_> {
    /// Finds the directory and reads what it lists; reports where readers would find different ones.
    pub(super) fn directory(&mut self) -> Result<Directory, Malformed> {
        let mut directory = Directory::default();
        let (size, mut ends) = (self.object.source.size_bytes(), ends(self.object.probe));
        let chosen = ends.iter().position(|end| end.fits).unwrap_or(0);
        if ends.is_empty() {
            self.ambiguous(size, "no end record: only readers of local headers see its members");
            return Ok(directory);
        }
        let mut end = ends.swap_remove(chosen);
        directory.rivals = ends.iter().filter(|end| end.end == size).map(|end| end.at).collect();
        if end.end > size {
            self.ambiguous(end.at, "archive comment ends past the end of the file");
        }
        directory.records.push(end.at..end.end.min(size));
        let mut directory_end = end.at;
        if let Some((at, wide)) = records::end64(&mut self.window, end.at).map_err(|e| unreadable(&e, end.at))? {
            directory_end = at;
            directory.records.extend([at..at.saturating_add(wide.len).min(end.at - 20), end.at - 20..end.at]);
            self.widen(&mut end, &wide);
        }
        self.walk_each(&end, directory_end, &mut directory)?;
        directory.entries.sort_by(|a, b| (a.offset, &a.name).cmp(&(b.offset, &b.name)));
        if directory.walked > 1 {
            // A second directory often lists the same members.
            directory.entries.dedup_by(|a, b| a.offset == b.offset && a.name == b.name);
        }
        Ok(directory)
    }

    /// Takes the wide values where the end record has no room for them; reports those it has and that differ.
    fn widen(&mut self, end: &mut End, wide: &records::End64) {
        let mut differs = false;
        for (narrow, wide, full) in [
            (&mut end.count, wide.count, u64::from(u16::MAX)),
            (&mut end.size, wide.size, u64::from(u32::MAX)),
            (&mut end.offset, wide.offset, u64::from(u32::MAX)),
        ] {
            differs |= *narrow != wide && *narrow != full;
            *narrow = wide;
        }
        if differs {
            self.ambiguous(end.at, "end record and zip64 end record disagree");
        }
    }

    /// Some readers go to the offset in the end record, others count back from it: walks both where they differ.
    fn walk_each(&mut self, end: &End, directory_end: u64, directory: &mut Directory) -> Result<(), Malformed> {
        let mut starts = vec![(end.offset, 0)];
        if let Some(counted) = directory_end.checked_sub(end.size).filter(|counted| *counted != end.offset) {
            starts.push((counted, counted.saturating_sub(end.offset)));
        }
        let mut found = Vec::new();
        for (start, base) in starts {
            let bytes = self.window.get(start, 4).map_err(|e| unreadable(&e, start))?;
            let holds = bytes.is_some_and(|bytes| bytes == records::CENTRAL) || end.size == 0 && end.count == 0;
            if holds && start <= directory_end {
                found.push((start, base));
            }
        }
        match found.as_slice() {
            [] => self.ambiguous(end.at, "the central directory is not where the end record says"),
            [_, _, ..] if end.count > 0 => {
                self.ambiguous(end.at, "readers find two different central directories");
            }
            _ => {}
        }
        for (n, (start, base)) in found.into_iter().enumerate() {
            let (count, stop) = self.walk((start, base), directory_end, directory)?;
            if n == 0 && (count != end.count || stop != start.saturating_add(end.size)) {
                let what = format!("end record counts {} members, the directory lists {count}", end.count);
                self.ambiguous(end.at, what);
            }
        }
        Ok(())
    }

    /// Reads entries from `start` until something else begins; offsets in them count from `base`. Returns how many there
    /// are, and where they end.
    fn walk(
        &mut self,
        (start, base): (u64, u64),
        directory_end: u64,
        directory: &mut Directory,
    ) -> Result<(u64, u64), Malformed> {
        directory.walked += 1;
        let (mut at, mut count) = (start, 0);
        while at < directory_end {
            let entry = records::central(&mut self.window, at).map_err(|e| unreadable(&e, at))?;
            let Some(mut entry) = entry else { break };
            if count >= self.object.limits.members_max || !self.directory_allowance.take(entry.name.len()) {
                let what = format!("members after the first {count} are not read");
                self.report(Malformed::new(Trouble::Limit, at, what));
                break;
            }
            entry.offset = entry.offset.saturating_add(base);
            at = at.saturating_add(entry.len);
            count += 1;
            directory.entries.push(entry);
        }
        directory.records.push(start..at.min(directory_end));
        Ok((count, at))
    }
}
