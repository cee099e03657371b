//! ZIP archives, read as every kind of reader would read them.
//!
//! Readers trust either the central directory at the end or the local headers in front of each member, and loaders of
//! models have been fooled by archives where the two disagree. We walk both, search the bytes between members for headers
//! nobody lists, report each disagreement, and hand every member on under every reading. Checksums are computed but not
//! required. Bytes before, between and after the records stay unclaimed.
//!
//! Source: PKWARE APPNOTE.TXT 6.3.10; arXiv 2508.19774. CVE-2025-1944 (names disagree), CVE-2025-1945 (encrypted flag),
//! CVE-2025-10156 (checksum), CVE-2024-0450 (overlapping members). 7z, RAR and tar are left to others.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use casemate_core::Window;

use super::reading::{Allowance, quote, unreadable};
use super::unpack::Slot;
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Role, Trouble};

mod directory;
mod member;
mod records;
mod storages;
mod unlisted;

use member::{Member, Stream};
use records::{Central, Local};

/// Reads ZIP archives: torch files, npz, Keras and whatever else is one inside.
pub(crate) struct Zip;

impl Format for Zip {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "zip",
            title: "ZIP archive",
            extensions: &["zip", "pt", "pth", "ckpt", "npz", "keras", "whl", "jar"],
            runs_code: false,
            is_model: false,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        let headed = [records::LOCAL, records::END].into_iter().any(|signature| probe.starts_with(signature));
        match headed || closes(probe) {
            true => Sniff::Certain,
            false => Sniff::No,
        }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        let mut parsed = Parsed::default();
        let mut archive = Archive {
            object,
            window: Window::new(&**object.source),
            parsed: &mut parsed,
            names: HashSet::new(),
            links: HashSet::new(),
            allowance: Allowance::new(),
            directory_allowance: Allowance::new(),
            slot: Arc::default(),
            exhausted: false,
        };
        if let Err(malformed) = archive.read() {
            archive.report(malformed);
        }
        refine(object, &mut parsed);
        parsed
    }
}

/// Whether an archive ends an object, whatever stands before it.
pub(super) fn closes(probe: &Probe) -> bool {
    directory::ends(probe).iter().any(|end| end.fits)
}

/// An archive while it is read.
struct Archive<'a, 'p> {
    object: &'a Object<'a>,
    window: Window<'a>,
    parsed: &'p mut Parsed,
    names: HashSet<String>,
    links: HashSet<String>,
    allowance: Allowance,
    directory_allowance: Allowance,
    slot: Arc<Slot>,
    // Nothing more is inflated once the budget is spent.
    exhausted: bool,
}

impl Archive<'_, '_> {
    fn read(&mut self) -> Result<(), Malformed> {
        let directory = self.directory()?;
        for entry in &directory.entries {
            self.listed(entry)?;
        }
        for range in directory.records {
            self.claim(range, "the directory");
        }
        for rival in directory.rivals {
            if !self.parsed.claims.ranges().iter().any(|range| range.contains(&rival)) {
                self.ambiguous(rival, "a second end record closes the file: readers differ in which they take");
            }
        }
        self.unlisted()
    }

    /// Reads a member the directory lists, and the local header it points at.
    fn listed(&mut self, entry: &Central) -> Result<(), Malformed> {
        let name = self.admit(&entry.name, entry.offset)?;
        let shown = quote(&name);
        let local = records::local(&mut self.window, entry.offset).map_err(|e| unreadable(&e, entry.offset))?;
        let Some(local) = local else {
            self.ambiguous(entry.offset, format!("no local header for member {shown}"));
            return Ok(());
        };
        let disagreements = disagreements(entry, &local);
        for what in &disagreements {
            self.ambiguous(entry.offset, format!("member {shown}: {what}"));
        }
        let start = entry.offset.saturating_add(local.len);
        let member = Member { name, start, flags: entry.flags | local.flags, stream: entry.stream, kind: entry.kind };
        let used = self.member(&member)?;
        self.claim(entry.offset..start.saturating_add(used), &shown);
        let end = start.saturating_add(entry.stream.compressed);
        if local.flags & records::DESCRIPTOR != 0 {
            self.descriptor(end, entry.stream, &shown)?;
        }
        // The reader that trusts local headers sees another stream: judge that one too.
        let differs = local.stream.method != entry.stream.method || local.stream.compressed != entry.stream.compressed;
        if differs && (local.stream.compressed != 0 || local.flags & records::DESCRIPTOR == 0) {
            self.member(&Member { stream: local.stream, flags: local.flags, ..member })?;
        }
        Ok(())
    }

    /// Claims the record after a member's data, in any of its four forms.
    fn descriptor(&mut self, at: u64, stream: Stream, shown: &str) -> Result<(), Malformed> {
        match records::descriptor(&mut self.window, at, stream).map_err(|e| unreadable(&e, at))? {
            Some(len) => self.claim(at..at.saturating_add(len), shown),
            None => self.ambiguous(at, format!("data descriptor of member {shown} is missing or disagrees")),
        }
        Ok(())
    }

    /// Counts a member and gives its name as text; reports a name seen before.
    fn admit(&mut self, name: &[u8], offset: u64) -> Result<String, Malformed> {
        self.object.budget.member(self.object.limits)?;
        let name = String::from_utf8_lossy(name).into_owned();
        if !self.allowance.take(name.len().saturating_mul(2)) {
            return Err(Malformed::new(Trouble::Limit, offset, "names of members need too much memory"));
        }
        if !self.names.insert(name.clone()) {
            self.ambiguous(offset, format!("two members are called {}", quote(&name)));
        }
        Ok(name)
    }

    fn claim(&mut self, range: Range<u64>, shown: &str) {
        let size = self.object.source.size_bytes();
        let (start, end) = (range.start.min(size), range.end.min(size));
        if range.end > size {
            self.ambiguous(start, format!("{shown} ends at byte {}, past the file's {size}", range.end));
        }
        if self.parsed.claims.add(start..end) {
            self.ambiguous(start, format!("{shown} shares bytes with another member or record"));
        }
    }

    fn ambiguous(&mut self, offset: u64, what: impl Into<String>) {
        self.report(Malformed::new(Trouble::Ambiguous, offset, what));
    }

    fn report(&mut self, malformed: Malformed) {
        self.parsed.report(self.object.limits, malformed);
    }
}

/// What local header and directory say differently of one member.
fn disagreements(central: &Central, local: &Local) -> Vec<String> {
    let mut found = Vec::new();
    let text = |bytes: &[u8]| quote(&String::from_utf8_lossy(bytes));
    if central.name != local.name {
        found.push(format!("its local header calls it {}", text(&local.name)));
    }
    for alias in [&central.alias, &local.alias].into_iter().flatten().filter(|alias| **alias != central.name) {
        found.push(format!("an extra field calls it {}", text(alias)));
    }
    if central.stream.method != local.stream.method {
        found.push(format!("method {} in the directory, {} locally", central.stream.method, local.stream.method));
    }
    if (central.flags ^ local.flags) & records::ENCRYPTED != 0 {
        found.push("one of its two headers has the encrypted flag".into());
    }
    // With a descriptor the local header may leave these 0.
    let late = local.flags & records::DESCRIPTOR != 0;
    let differ = |central: u64, local: u64| central != local && !(late && local == 0);
    if differ(central.stream.compressed, local.stream.compressed) || differ(central.stream.size, local.stream.size) {
        found.push("directory and local header disagree on its size".into());
    }
    if differ(central.stream.crc.into(), local.stream.crc.into()) {
        found.push("directory and local header disagree on its checksum".into());
    }
    found
}

/// Recognises what kind of model an archive is by the names its writer always uses, and what the loader does with each.
fn refine(object: &Object<'_>, parsed: &mut Parsed) {
    let limits = object.limits;
    let names: Vec<&str> = parsed.children.iter().map(|child| child.name.as_str()).collect();
    let top = names.first().and_then(|name| name.split_once('/')).map(|(top, _)| format!("{top}/"));
    let top = top.filter(|top| names.iter().all(|name| name.starts_with(top.as_str())));
    if let Some(top) = top {
        let inner: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix(top.as_str())).collect();
        let by_torch = |name: &&str| matches!(*name, "version" | "byteorder") || name.starts_with("data/");
        if inner.contains(&"data.pkl") && inner.iter().any(by_torch) {
            let script = inner.iter().any(|name| *name == "constants.pkl" || name.starts_with("code/"));
            parsed.refined = Some(if script { "torchscript" } else { "pytorch-zip" });
            for child in &mut parsed.children {
                child.role = torch_role(child.name.strip_prefix(top.as_str()).unwrap_or_default(), script);
            }
            storages::compare(object, &top, parsed);
            return;
        }
    }
    if !names.is_empty() && names.iter().all(|name| name.ends_with(".npy")) {
        parsed.refined = Some("npz");
    } else if names.contains(&"config.json")
        && (names.contains(&"model.weights.h5") || names.contains(&"metadata.json"))
    {
        parsed.refined = Some("keras");
        // A reader that ignores case, or unpacks onto a disk that does, takes the other one.
        let decoys: Vec<String> = names
            .iter()
            .filter(|name| **name != "config.json" && name.eq_ignore_ascii_case("config.json"))
            .map(|name| format!("member {} stands beside `config.json`", quote(name)))
            .take(limits.findings_max.try_into().unwrap_or(usize::MAX))
            .collect();
        decoys.into_iter().for_each(|what| parsed.report(limits, Malformed::new(Trouble::Ambiguous, None, what)));
    }
}

fn torch_role(name: &str, script: bool) -> Role {
    let number =
        |prefix| name.strip_prefix(prefix).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    match name {
        "data.pkl" => Role::TorchPickle,
        // TorchScript keeps the constants of its code in the same form.
        "constants.pkl" if script => Role::TorchPickle,
        _ if number("data/") || script && number("constants/") => Role::RawData,
        _ => Role::Any,
    }
}

#[cfg(test)]
mod tests;
