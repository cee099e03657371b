//! Records in one order, whatever order they came in.

use std::collections::BTreeMap;

use casemate_core::{Evidence, Record, Timestamp};

/// How far a machine's clock may run ahead of ours before we call its evidence made up.
const SKEW_MAX_MS: i64 = 5 * 60 * 1000;

/// Where a record stands in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    Past,
    Future,
    /// Ended before it began.
    Backwards,
}

pub(crate) fn time(evidence: &Evidence, now: Timestamp) -> Time {
    if evidence.finished_at.ms_since(now) > SKEW_MAX_MS {
        Time::Future
    } else if evidence.finished_at < evidence.started_at {
        Time::Backwards
    } else {
        Time::Past
    }
}

/// Later is greater: by place in the ledger, then by end, then by id. What was appended later was known later, whatever a
/// clock said: a run under a fast clock must not stay the latest until that date has come.
pub(crate) fn order(record: &Record) -> (u64, Timestamp, &str) {
    (record.index, record.evidence.finished_at, &record.id)
}

/// Records by kind, each kind from the earliest to the latest, each record once.
pub(crate) struct Index<'a> {
    by_kind: BTreeMap<&'a str, Vec<&'a Record>>,
}

impl<'a> Index<'a> {
    pub(crate) fn new(records: &'a [Record]) -> Self {
        let mut by_kind: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
        for record in records {
            by_kind.entry(&record.evidence.kind).or_default().push(record);
        }
        for list in by_kind.values_mut() {
            list.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
            list.dedup_by(|a, b| a.id == b.id);
        }
        Self { by_kind }
    }

    pub(crate) fn of_kind(&self, kind: &str) -> &[&'a Record] {
        self.by_kind.get(kind).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &'a Record> {
        self.by_kind.values().flatten().copied()
    }
}
