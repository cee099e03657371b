//! `casemate rewrap`: exchanges the keys that open sealed files.

use std::fmt::Write as _;

use casemate_provenance::seal::place;

use crate::cli::{Format, RewrapArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::sealing::{borrowed, failure, keys, named, passphrases};

/// Runs the command.
pub fn run(context: &Context, args: &RewrapArgs) -> Result<Exit, Failure> {
    context.format(&[Format::Text])?;
    let keys = keys(&args.with)?;
    let mut add = named(&args.recipient)?;
    add.extend(passphrases(&args.new_passphrase_file)?);
    let (keys, add) = (borrowed(&keys), borrowed(&add));
    let mut out = String::new();
    let mut worst = Exit::Passed;
    for path in &args.files {
        // One file after the other, each for itself: what was done to the first is not undone by the second.
        match place::rewrap(path, &keys, &add, &args.remove) {
            Ok(wraps) => {
                let names: Vec<String> = wraps.into_iter().map(|wrap| wrap.kek_id).collect();
                let _ = writeln!(out, "rewrapped {}\n  opens with {}", path.display(), names.join(", "));
            }
            Err(error) => {
                let failure = failure(path, &error);
                worst = worst.worse(failure.exit);
                context.complain(&failure);
            }
        }
    }
    context.to_stdout(&out)?;
    if !args.remove.is_empty() && worst == Exit::Passed {
        context
            .say("a copy made before still opens with the key taken away: to shut its holder out, open and seal again");
    }
    Ok(worst)
}
