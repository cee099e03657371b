//! Progress of long work, on the terminal only.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::context::Context;

/// A bar over `bytes`, shown when standard error is a terminal and the work takes a moment.
pub fn bar(context: &Context, what: &str, bytes: u64) -> ProgressBar {
    let shown = std::io::stderr().is_terminal() && !context.globals.quiet && bytes > SHOWN_FROM_BYTES;
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(bytes), target);
    if let Ok(style) =
        ProgressStyle::with_template("{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left  {wide_msg}")
    {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    if shown {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}

/// A bar over `files` on servers, with the bytes `fetched` so far, shown when standard error is a terminal.
pub fn files(
    context: &Context,
    what: &str,
    files: u64,
    fetched: impl Fn() -> u64 + Send + Sync + Clone + 'static,
) -> ProgressBar {
    let shown = std::io::stderr().is_terminal() && !context.globals.quiet;
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(files), target);
    if let Ok(style) =
        ProgressStyle::with_template("{prefix} {pos}/{len} files, {fetched} fetched, {elapsed}  {wide_msg}")
    {
        let write = move |_: &ProgressState, text: &mut dyn std::fmt::Write| {
            let _ = write!(text, "{}", HumanBytes(fetched()));
        };
        bar.set_style(style.with_key("fetched", write));
    }
    bar.set_prefix(what.to_owned());
    if shown {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}

/// Less is done before a bar could be read.
const SHOWN_FROM_BYTES: u64 = 64 << 20;
