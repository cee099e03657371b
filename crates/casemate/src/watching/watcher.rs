//! When to judge a model again: when something about it changed, and every so often though nothing did.
//!
//! Polling, not notifications: those miss changes on network file systems, behind overlays and in containers, and are lost
//! when a queue runs over. A look reads names and stamps only.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime};
use std::{fs, thread};

use casemate_core::{Clock as _, SystemClock};
use casemate_provenance::{Look, Remembered, Stamp};

use super::event::{Event, Known};
use super::{Judgement, State, Target};

/// Between two looks; longer where looking itself takes long.
const PAUSE: Duration = Duration::from_secs(1);

/// Looking takes a tenth of one core at most.
const LOOK_SHARE: u32 = 10;

/// A file that is being written is judged after this time though it is not finished.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// Before files that were read right after they were written are read once more.
const UNSETTLED_PAUSE: Duration = Duration::from_secs(10);

/// Bytes read again for age alone before the next look, one file at least: a change elsewhere is seen in between.
const AGED_BYTES_MAX: u64 = 1 << 30;

/// Everything that shows a change, without reading a file.
#[derive(PartialEq, Eq)]
struct Sight {
    model: Result<Look, String>,
    beside: Vec<(PathBuf, Option<Stamp>)>,
}

/// One model under watch.
pub struct Watcher<'a> {
    target: &'a Target,
    /// Every file is read again after this time.
    interval: Duration,
    remembered: Remembered,
    known: Known,
    /// What was there at the last judgement, when that was and how long it took.
    judged: Option<(Sight, Instant, Duration)>,
    /// Since when something differs from the last judgement.
    differs_since: Option<Instant>,
}

impl<'a> Watcher<'a> {
    /// A watcher that has seen nothing yet.
    pub fn new(target: &'a Target, interval: Duration) -> Self {
        let remembered = Remembered::default();
        Self { target, interval, remembered, known: Known::default(), judged: None, differs_since: None }
    }

    /// Watches until told to stop, or nobody listens any longer.
    pub fn watch(mut self, send: &Sender<Event>, is_stopped: &dyn Fn() -> bool) {
        while !is_stopped() {
            let began = Instant::now();
            let sight = Sight::of(self.target);
            let looked = began.elapsed();
            if self.is_due(&sight)
                && let Some(event) = self.judge(sight)
                && send.send(event).is_err()
            {
                return;
            }
            let until = Instant::now() + PAUSE.max(looked * (LOOK_SHARE - 1));
            while Instant::now() < until && !is_stopped() {
                thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// Whether to judge now.
    fn is_due(&mut self, sight: &Sight) -> bool {
        let now = SystemTime::now();
        let Some((before, at, took)) = &self.judged else { return true };
        if before != sight {
            let since = *self.differs_since.get_or_insert_with(Instant::now);
            let is_settled = sight.model.as_ref().map_or(true, |look| look.is_settled(now));
            return is_settled || since.elapsed() >= SETTLE_MAX;
        }
        self.differs_since = None;
        // Expired certificates and keys show without any change of a file.
        let is_old =
            now.checked_sub(self.interval).is_some_and(|then| self.remembered.forget(then, AGED_BYTES_MAX) > 0);
        let is_unsettled = self.remembered.is_unsettled() && at.elapsed() >= UNSETTLED_PAUSE.max(*took * 20);
        is_old || is_unsettled || at.elapsed() >= self.interval
    }

    fn judge(&mut self, sight: Sight) -> Option<Event> {
        let began = Instant::now();
        let target = self.target;
        // A fault of ours must not end the watch in silence.
        let judged = catch_unwind(AssertUnwindSafe(|| target.judge(&mut self.remembered)));
        let judgement = judged.unwrap_or_else(|_| {
            self.remembered = Remembered::default();
            Judgement::of(State::Unverifiable, format!("internal fault at {}", crate::exit::last_fault()))
        });
        self.judged = Some((sight, Instant::now(), began.elapsed()));
        self.differs_since = None;
        self.known.news(judgement, (&target.name, &target.path, &target.signature), SystemClock.now())
    }
}

impl Sight {
    fn of(target: &Target) -> Self {
        let stamp = |path: &Path| fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
        let beside = target.trust.files().chain([target.signature.as_path()]);
        Self {
            model: Look::at(&target.path).map_err(|error| error.to_string()),
            beside: beside.map(|path| (path.to_owned(), stamp(path))).collect(),
        }
    }
}
