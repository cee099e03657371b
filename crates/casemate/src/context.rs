//! What every command starts from: options, the project around them, its state, and where output goes.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use casemate_core::{Clock, SystemClock, Timestamp};
use casemate_provenance::files::create_anew;
use clap::ValueEnum as _;

use crate::cli::{Format, Globals};
use crate::config::Config;
use crate::exit::Failure;
use crate::small_file;

/// Set by Ctrl-C: long work stops at the next file and says that it is incomplete.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What every command starts from.
pub struct Context {
    /// The options before the command.
    pub globals: Globals,
    clock: SystemClock,
}

/// A project: a directory with or without a `casemate.toml`.
pub struct Project {
    /// Its directory.
    pub root: PathBuf,
    /// Its name.
    pub name: String,
    /// Its configuration; the default where there is no file.
    pub config: Config,
    /// The configuration's text, empty where there is no file.
    pub config_text: String,
    /// Directory of ledger, keys and caches.
    pub state: PathBuf,
}

impl Context {
    /// Starts from the options of the command line.
    ///
    /// # Errors
    /// When `-C` names no directory.
    pub fn new(globals: Globals) -> Result<Self, Failure> {
        if let Some(directory) = &globals.start_in {
            std::env::set_current_dir(directory)
                .map_err(|error| Failure::usage(format!("-C `{}`: {error}", directory.display())))?;
        }
        Ok(Self { globals, clock: SystemClock })
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether work was interrupted.
    pub fn is_interrupted(&self) -> bool {
        INTERRUPTED.load(Relaxed)
    }

    /// The project in `directory`, or the one the working directory lies in.
    ///
    /// # Errors
    /// When the directory or its configuration cannot be read.
    pub fn project(&self, directory: Option<&Path>) -> Result<Project, Failure> {
        let root = directory.map_or_else(around, Path::to_owned);
        let metadata = fs::metadata(&root)
            .map_err(|error| Failure::usage(format!("`{}`: {error}; name the project's directory", root.display())))?;
        if !metadata.is_dir() {
            let message = format!("`{}` is no directory; to judge one file, run `casemate scan {0}`", root.display());
            return Err(Failure::usage(message));
        }
        let default = root.join("casemate.toml");
        let config_text = match &self.globals.config {
            Some(path) => small_file::read(path).map_err(Failure::usage)?,
            None => small_file::read_if_there(&default).map_err(Failure::usage)?.unwrap_or_default(),
        };
        let path = self.globals.config.clone().unwrap_or(default);
        let config = Config::parse(&config_text).map_err(|error| {
            Failure::usage(format!(
                "`{}`, {error}. `casemate init` writes a configuration with every key explained",
                path.display()
            ))
        })?;
        let name = config.project.name.clone().unwrap_or_else(|| directory_name(&root));
        let state = self.globals.state.clone().unwrap_or_else(|| root.join(".casemate"));
        Ok(Project { root, name, config, config_text, state })
    }

    /// The format asked for, or the one the output file's ending says, if it is among `known`.
    ///
    /// # Errors
    /// When this command has no such format, or the ending says nothing.
    pub fn format(&self, known: &[Format]) -> Result<Format, Failure> {
        let name =
            |format: &Format| format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let names = || known.iter().map(name).collect::<Vec<_>>().join(", ");
        let output = self.globals.output.as_deref().filter(|path| *path != Path::new("-"));
        let ending = output.and_then(Path::extension).map(|ending| ending.to_string_lossy().to_lowercase());
        let format = match (self.globals.format, ending.as_deref()) {
            (Some(format), _) => format,
            (None, None | Some("txt")) => Format::Text,
            (None, Some("json")) => Format::Json,
            (None, Some("md" | "markdown")) => Format::Markdown,
            (None, Some("html" | "htm")) => Format::Html,
            (None, Some("sarif")) => Format::Sarif,
            (None, Some("csv")) => Format::Csv,
            (None, Some("xml")) => Format::Junit,
            (None, Some("svg")) => Format::Badge,
            // A device such as /dev/stdout.v2 or a log named by date says nothing; formats that are one only need no name.
            (None, Some(_)) if known == [Format::Text] => Format::Text,
            (None, Some(ending)) => {
                let message =
                    format!("an output ending in `.{ending}` names no format; add --format, one of {}", names());
                return Err(Failure::usage(message));
            }
        };
        match known.contains(&format) {
            true => Ok(format),
            false => Err(Failure::usage(format!("this command does not come as {}; use {}", name(&format), names()))),
        }
    }

    /// Writes the result of a command: to standard output, or whole to the file of `-o`.
    ///
    /// # Errors
    /// When it cannot be written; a file that was there stays as it was.
    pub fn emit(&self, text: &str) -> Result<(), Failure> {
        match &self.globals.output {
            Some(path) if path != Path::new("-") => {
                write_whole(path, text.as_bytes())?;
                self.say(&format!("wrote {}", path.display()));
                Ok(())
            }
            _ => self.to_stdout(text),
        }
    }

    /// Writes `text` to standard output.
    ///
    /// # Errors
    /// When it cannot be written, unless the reader of a pipe left early.
    pub fn to_stdout(&self, text: &str) -> Result<(), Failure> {
        match std::io::stdout().lock().write_all(text.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::not_evaluated(format!("standard output: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Says something to the person at the terminal, unless told to be quiet.
    pub fn say(&self, message: &str) {
        if !self.globals.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{message}");
        }
    }

    /// Says why something could not be done, whether or not anybody wants remarks.
    pub fn complain(&self, failure: &Failure) {
        let _ = writeln!(std::io::stderr().lock(), "casemate: {}", failure.message);
    }

    /// Says something only to those who asked for more.
    pub fn mention(&self, message: &str) {
        if self.globals.verbose {
            self.say(message);
        }
    }

    /// Whether standard output is a terminal that wants colour.
    pub fn color(&self) -> bool {
        let dumb = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        self.globals.output.is_none() && std::io::stdout().is_terminal() && !dumb
    }
}

/// The nearest directory from here upwards that is a project: one with a configuration or a ledger.
fn around() -> PathBuf {
    let here = PathBuf::from(".");
    let Ok(absolute) = std::env::current_dir() else { return here };
    let is_project =
        |directory: &&Path| directory.join("casemate.toml").is_file() || directory.join(".casemate/ledger").is_dir();
    match absolute.ancestors().enumerate().find(|(_, directory)| is_project(directory)) {
        None | Some((0, _)) => here,
        Some((levels, _)) => (0..levels).map(|_| "..").collect(),
    }
}

/// Name of a directory, for people.
fn directory_name(path: &Path) -> String {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real.file_name().map_or_else(|| "project".into(), |name| name.to_string_lossy().into_owned())
}

/// Writes a file whole or not at all: beside its place first, then renamed. A device or pipe is written to as it is, a link
/// leads to the file it names.
///
/// # Errors
/// When it cannot be written; a file that was there stays as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let fail =
        |error: std::io::Error| Failure::not_evaluated(format!("`{}` could not be written: {error}", path.display()));
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        let device = fs::OpenOptions::new().write(true).open(path);
        return device.and_then(|mut device| device.write_all(bytes)).map_err(fail);
    }
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.file_name().is_none() {
        return Err(Failure::usage(format!("`{}` names no file", path.display())));
    }
    // Made anew and never through a link that somebody put there.
    let temporary = directory.join(format!(".casemate-{}-{}.tmp", std::process::id(), SystemClock.now().unix_ms()));
    let written = create_anew(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        fail(error)
    })
}
