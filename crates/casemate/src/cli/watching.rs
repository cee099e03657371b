//! Arguments of `verify --watch`.

use std::path::PathBuf;

use clap::Args;

/// How to watch, and whom to tell.
#[derive(Args, Debug)]
#[command(next_help_heading = "Watching")]
pub struct WatchArgs {
    /// Go on verifying: on every change, and at an interval. Without MODEL, every signed model of casemate.toml.
    #[arg(long, conflicts_with = "partial")]
    pub watch: bool,
    /// Read every file again at least this often, though nothing seems to have changed.
    #[arg(long, value_name = "SECONDS", default_value_t = 900, requires = "watch", value_parser = clap::value_parser!(u64).range(10..=86_400))]
    pub interval: u64,
    /// Append events to FILE, one JSON line each, instead of writing them to standard output.
    #[arg(long, value_name = "FILE", requires = "watch")]
    pub events: Option<PathBuf>,
    /// Run CMD in a shell for each event, the JSON line on its standard input; may be given again.
    #[arg(long, value_name = "CMD", requires = "watch")]
    pub on_event: Vec<String>,
    /// Post each event to URL, https:// or this machine; tried again when it fails; may be given again.
    #[arg(long, value_name = "URL", requires = "watch")]
    pub webhook: Vec<String>,
    /// End at the first event that is an alert, with the exit code of `verify`.
    #[arg(long, requires = "watch")]
    pub until_alert: bool,
    /// Do not append events to the project's ledger.
    #[arg(long, requires = "watch")]
    pub no_record: bool,
}
