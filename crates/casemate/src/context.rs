//! What every command starts from: options, the project around them, its state, and where output goes.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use casemate_core::{Clock, SystemClock, Timestamp};

use crate::cli::{Format, Globals};
use crate::config::Config;
use crate::exit::Failure;

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

    /// The project in `directory`, or around the working directory.
    ///
    /// # Errors
    /// When the directory or its configuration cannot be read.
    pub fn project(&self, directory: Option<&Path>) -> Result<Project, Failure> {
        let root = directory.unwrap_or(Path::new(".")).to_owned();
        let metadata = fs::metadata(&root)
            .map_err(|error| Failure::usage(format!("`{}`: {error}; name the project's directory", root.display())))?;
        if !metadata.is_dir() {
            let message = format!("`{}` is no directory; to judge one file, run `casemate scan {0}`", root.display());
            return Err(Failure::usage(message));
        }
        let default = root.join("casemate.toml");
        let path = self.globals.config.clone().unwrap_or(default);
        let config_text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| {
                Failure::usage(format!("`{}` is not UTF-8 text; write it again as UTF-8", path.display()))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.globals.config.is_none() => {
                String::new()
            }
            Err(error) => return Err(Failure::usage(format!("`{}`: {error}", path.display()))),
        };
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

    /// The format asked for, or the one the output file's ending says.
    pub fn format(&self) -> Format {
        let ending = self.globals.output.as_deref().and_then(Path::extension).and_then(|ending| ending.to_str());
        self.globals.format.unwrap_or(match ending {
            Some("json") => Format::Json,
            Some("md" | "markdown") => Format::Markdown,
            Some("html" | "htm") => Format::Html,
            Some("sarif") => Format::Sarif,
            Some("csv") => Format::Csv,
            Some("svg") => Format::Badge,
            _ => Format::Text,
        })
    }

    /// Writes the result of a command: to standard output, or whole to the file of `-o`.
    ///
    /// # Errors
    /// When it cannot be written; a file that was there stays as it was.
    pub fn emit(&self, text: &str) -> Result<(), Failure> {
        match &self.globals.output {
            Some(path) => {
                write_whole(path, text.as_bytes())?;
                self.say(&format!("wrote {}", path.display()));
                Ok(())
            }
            None => self.to_stdout(text),
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

    /// Says something only to those who asked for more.
    pub fn mention(&self, message: &str) {
        if self.globals.verbose {
            self.say(message);
        }
    }

    /// Whether standard output is a terminal that wants colour.
    pub fn color(&self) -> bool {
        let dumb = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        self.globals.output.is_none() && std::io::stdout().is_terminal() && !dumb
    }
}

/// Name of a directory, for people.
fn directory_name(path: &Path) -> String {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real.file_name().map_or_else(|| "project".into(), |name| name.to_string_lossy().into_owned())
}

/// Writes a file whole or not at all: beside its place first, then renamed.
///
/// # Errors
/// When it cannot be written; a file that was there stays as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let fail =
        |error: std::io::Error| Failure::not_evaluated(format!("`{}` could not be written: {error}", path.display()));
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| Failure::usage(format!("`{}` names no file", path.display())))?;
    let temporary = directory.join(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let written = fs::write(&temporary, bytes)
        .and_then(|()| fs::File::open(&temporary)?.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        fail(error)
    })
}
