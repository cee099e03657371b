//! Whom an event is told: a line on standard output or in a file, a record in the ledger, a command, a web address.
//!
//! An alert that is lost is the intruder's gain. So each way is tried whatever became of the others, what fails is said on
//! standard error, a record that could not be written is kept and tried again, and ways that may take long have threads of
//! their own.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use casemate_core::Evidence;

use super::event::Event;
use crate::context::{Context, Project};
use crate::exit::Failure;
use crate::remote::webhook::Webhook;
use crate::state::State;

/// Events that wait for one way out; beyond it they are said to be lost for that way.
const WAITING_MAX: usize = 1000;

/// Pauses before a web address is tried again.
const RETRY_PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(60)];

/// Longest run of a command for one event.
const COMMAND_SECONDS_MAX: u64 = 60;

/// Longest wait for commands and web addresses when watching ends.
const DRAIN: Duration = Duration::from_secs(20);

/// Everyone who is told.
#[derive(Default)]
pub struct Sinks {
    file: Option<(PathBuf, File)>,
    /// Whether the file is all there is: nothing for people, and no other place for a line.
    is_silent: bool,
    recorder: Option<Recorder>,
    workers: Vec<Worker>,
}

/// Writes events into the project's ledger.
struct Recorder {
    project: Project,
    waiting: VecDeque<Evidence>,
    lost: usize,
    tried: Instant,
}

/// Tells somebody who may take long.
struct Worker {
    name: String,
    send: SyncSender<String>,
    done: Receiver<()>,
}

impl Sinks {
    /// Nobody but standard output.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends lines to the file at `path` instead of writing them to standard output.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn add_file(&mut self, path: &Path) -> Result<(), Failure> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|error| Failure::not_evaluated(format!("`{}`: {error}", path.display())))?;
        self.file = Some((path.to_owned(), file));
        Ok(())
    }

    /// Says nothing to people: for events that were provoked.
    #[must_use]
    pub fn silently(mut self) -> Self {
        self.is_silent = true;
        self
    }

    /// Records every event in the ledger of `project`.
    pub fn add_ledger(&mut self, project: Project) {
        self.recorder = Some(Recorder { project, waiting: VecDeque::new(), lost: 0, tried: Instant::now() });
    }

    /// Runs `command` in a shell for every event, the line on its standard input.
    pub fn add_command(&mut self, command: &str) {
        let (name, command) = (format!("the command `{command}`"), command.to_owned());
        self.workers.push(Worker::start(name, move |line| run_command(&command, line)));
    }

    /// Posts every event to a web address.
    pub fn add_webhook(&mut self, webhook: Webhook) {
        let name = webhook.shown();
        self.workers.push(Worker::start(name, move |line| {
            let mut tried = webhook.post(line.as_bytes());
            for pause in RETRY_PAUSES
                .iter()
                .take_while(|_| !crate::context::INTERRUPTED.load(std::sync::atomic::Ordering::Relaxed))
            {
                if tried.is_ok() {
                    break;
                }
                thread::sleep(*pause);
                tried = webhook.post(line.as_bytes());
            }
            tried
        }));
    }

    /// Tells everyone of `event`.
    pub fn raise(&mut self, context: &Context, event: &Event) {
        let line = event.line();
        for worker in &self.workers {
            worker.tell(context, &line);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.take(event);
            recorder.write(context);
        }
        let written = match &mut self.file {
            Some((path, file)) => {
                if !self.is_silent {
                    context.say(&event.words());
                }
                let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
                written.map_err(|error| Failure::not_evaluated(format!("event: `{}`: {error}", path.display())))
            }
            None => context.to_stdout(&line),
        };
        if let Err(failure) = written {
            context.complain(&failure);
            // Said once more where somebody may still see it.
            if self.file.is_some()
                && !self.is_silent
                && let Err(failure) = context.to_stdout(&line)
            {
                context.complain(&failure);
            }
        }
    }

    /// Tries again what could not be recorded, from time to time.
    pub fn tend(&mut self, context: &Context) {
        const AGAIN_AFTER: Duration = Duration::from_secs(5);
        if let Some(recorder) = self.recorder.as_mut().filter(|recorder| recorder.tried.elapsed() >= AGAIN_AFTER) {
            recorder.write(context);
        }
    }

    /// Waits, not for ever, until everyone was told.
    pub fn close(mut self, context: &Context) {
        if let Some(recorder) = &mut self.recorder {
            recorder.write(context);
            if recorder.waiting.len() + recorder.lost > 0 {
                let n = recorder.waiting.len() + recorder.lost;
                context.complain(&Failure::not_evaluated(format!("{n} events are not in the ledger")));
            }
        }
        let until = Instant::now() + DRAIN;
        for Worker { name, send, done } in self.workers {
            drop(send);
            let left = until.saturating_duration_since(Instant::now());
            if let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = done.recv_timeout(left) {
                context.complain(&Failure::not_evaluated(format!("{name} did not take every event")));
            }
        }
    }
}

impl Recorder {
    fn take(&mut self, event: &Event) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
            self.lost += 1;
        }
        self.waiting.push_back(event.evidence());
    }

    /// Appends what waits; what cannot be appended goes on waiting.
    fn write(&mut self, context: &Context) {
        if self.waiting.is_empty() {
            return;
        }
        self.tried = Instant::now();
        let batch: Vec<Evidence> = self.waiting.iter().cloned().collect();
        let appended = State::open_existing(&self.project).and_then(|mut state| state.append(&batch));
        match appended {
            Ok(_) => self.waiting.clear(),
            Err(failure) => {
                let n = self.waiting.len();
                let message = format!("{n} events could not be recorded and are tried again: {}", failure.message);
                context.complain(&Failure::not_evaluated(message));
            }
        }
    }
}

impl Worker {
    fn start(name: String, work: impl Fn(&str) -> Result<(), String> + Send + 'static) -> Self {
        let (send, receive) = sync_channel::<String>(WAITING_MAX);
        let (finished, done) = sync_channel(1);
        let who = name.clone();
        thread::spawn(move || {
            for line in receive {
                if let Err(what) = work(&line) {
                    let _ = writeln!(std::io::stderr().lock(), "casemate: {who} did not take an event: {what}");
                }
            }
            let _ = finished.send(());
        });
        Self { name, send, done }
    }

    fn tell(&self, context: &Context, line: &str) {
        let what = match self.send.try_send(line.to_owned()) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => "too many events wait for it already",
            Err(TrySendError::Disconnected(_)) => "it failed for good",
        };
        context.complain(&Failure::not_evaluated(format!("{} did not take an event: {what}", self.name)));
    }
}

/// Runs `command` with `line` on its standard input, for a bounded time.
fn run_command(command: &str, line: &str) -> Result<(), String> {
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    // Its output is not ours: standard output holds events and nothing else.
    let mut child = Command::new(shell)
        .args([flag, command])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut input) = child.stdin.take() {
        let line = line.to_owned();
        // A command that does not read its input must not hold up anybody; writing ends when the command does.
        thread::spawn(move || drop(input.write_all(line.as_bytes())));
    }
    let until = Instant::now() + Duration::from_secs(COMMAND_SECONDS_MAX);
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("it ended with {status}")),
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(50)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it took more than {COMMAND_SECONDS_MAX} seconds and was ended"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
