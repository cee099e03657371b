//! Digests of files kept from one run to the next, for `sign`, `verify` and `check`.
//!
//! One entry a model: what [`KnownDigests`] knows of its files. `sign` and `verify` take digests from it and say how far;
//! `check` reads every file whatever is known, since what it writes into the ledger must be about bytes that were read, and
//! holds what it reads against what is known. An entry that is not believed is ignored, and said.

use std::path::Path;
use std::time::SystemTime;

use casemate_core::{Digest, Seed};
use casemate_provenance::digests::{Account, Draw, KnownDigest, KnownDigests};
use casemate_provenance::manifest;
use serde_json::{Value, json};

use super::store::{Bound, Kept, Store, digest};
use crate::cli::ReuseArgs;
use crate::context::{Context, Project};
use crate::exit::Failure;
use crate::state::State;

/// A larger entry is not kept: 64 MiB are about 200,000 files.
const ENTRY_BYTES_MAX: u64 = 64 << 20;

/// Entries kept, and their bytes together; beyond either the oldest go.
const BOUND: Bound = Bound { entries: 1_000, bytes: 128 << 20 };

/// What is known of the files of one model, and where it is kept.
pub struct DigestCache {
    /// Where it is kept; nowhere without a project.
    store: Option<Store>,
    about: Digest,
    known: KnownDigests,
}

impl DigestCache {
    /// What the state of `project` knows of the model at `root`, which is canonical; nothing where there is no project with a
    /// ledger, or the cache cannot be used, which is said.
    pub fn open(context: &Context, project: Option<&Project>, root: &Path, draw: Draw) -> Self {
        let store = project.filter(|project| State::exists(project)).and_then(|project| {
            let opened = Store::open(&project.state, "digests", ENTRY_BYTES_MAX);
            let say = |why: &String| context.say(&format!("no digests are kept or taken from earlier runs: {why}"));
            opened.inspect_err(say).ok()
        });
        let about = digest(&[b"casemate-digests-v1", root.as_os_str().as_encoded_bytes()]);
        let kept = store.as_ref().map_or(Kept::Nothing, |store| store.get(about));
        let known: Option<Vec<KnownDigest>> = match kept {
            Kept::Nothing => Some(Vec::new()),
            Kept::Disbelieved => None,
            Kept::Bytes(body) => serde_json::from_slice(&body).ok(),
        };
        if known.is_none() {
            context.say("digests kept by earlier runs could not be believed and were ignored; every file is read");
        }
        Self { store, about, known: KnownDigests::new(known.unwrap_or_default(), draw, SystemTime::now()) }
    }

    /// What is known, for whoever hashes.
    pub fn known(&self) -> &KnownDigests {
        &self.known
    }

    /// Why no hashes came of it. A file that changed behind its times makes everything known worthless: it goes.
    pub fn failure(&self, error: &manifest::Error) -> Failure {
        match error {
            manifest::Error::ChangedUnseen { .. } => {
                if let Some(store) = &self.store {
                    store.clear();
                }
                Failure::integrity(format!(
                    "{error}: the disk is failing, or somebody wrote past the file system. All kept digests were discarded; restore \
                     the file from the signed release and run this again"
                ))
            }
            error => Failure::not_evaluated(error),
        }
    }

    /// Ends the run: keeps what it learned. `partial` says that it looked at some of the files only.
    pub fn close(&self, context: &Context, partial: bool) {
        let account = self.known.account();
        context.mention(&format!(
            "{} files ({} bytes) were read, digests of {} taken from earlier runs",
            account.files_read, account.bytes_read, account.files_from_cache
        ));
        let Some(store) = self.store.as_ref().filter(|_| !self.known.is_unchanged()) else { return };
        let Ok(body) = serde_json::to_vec(&self.known.for_next_run(partial)) else { return };
        if store.put(self.about, &body) {
            store.evict(&BOUND);
        } else {
            context.mention("the digests could not be kept; the next run reads every file again");
        }
    }

    /// How far the result rests on earlier runs, in a sentence, where it does.
    pub fn remark(&self) -> Option<String> {
        let (account, draw) = (self.known.account(), self.known.draw());
        let (known, chance) = (known(&account), |changed| percent(draw.chance(known(&account), changed)));
        (account.files_from_cache > 0).then(|| {
            format!(
                "{} of {} files were not read but known from earlier runs; of the {known} known ones {} were drawn and re-hashed (seed \
                 {}): a change that left size, times and inode as they were is found with {} when it is in one file, with {} in \
                 ten. --full reads every file",
                account.files_from_cache,
                account.files,
                account.files_drawn,
                draw.seed,
                chance(1),
                chance(10)
            )
        })
    }

    /// The same in figures.
    pub fn summary(&self) -> Value {
        let (account, draw) = (self.known.account(), self.known.draw());
        let known = known(&account);
        json!({
            "files": account.files,
            "files_read": account.files_read,
            "files_rehashed": account.files_drawn,
            "files_from_cache": account.files_from_cache,
            "bytes_read": account.bytes_read,
            "bytes_from_cache": account.bytes_from_cache,
            "share_drawn": draw.share(),
            "seed": draw.seed,
            "chance_one_changed": draw.chance(known, 1),
            "chance_ten_changed": draw.chance(known, 10),
        })
    }
}

/// Which files are read though they are known.
///
/// # Errors
/// When the system has no randomness.
pub fn draw(args: &ReuseArgs) -> Result<Draw, Failure> {
    match (args.full, args.seed) {
        (true, _) => Ok(Draw::all()),
        (false, Some(seed)) => Ok(Draw::new(args.sample.0, Seed(seed))),
        (false, None) => Draw::at_random(args.sample.0).map_err(Failure::not_evaluated),
    }
}

/// Files that need not have been read.
fn known(account: &Account) -> usize {
    usize::try_from(account.files_drawn + account.files_from_cache).unwrap_or(usize::MAX)
}

/// A share for people, never more than it is.
fn percent(share: f64) -> String {
    // What was meant as 0.5 may be stored as a little less.
    let percent = share * 100.0 + 1e-9;
    if percent < 10.0 && percent > 1e-6 {
        format!("{:.1} %", (percent * 10.0).floor() / 10.0)
    } else {
        format!("{:.0} %", percent.floor())
    }
}

#[cfg(test)]
mod tests;
