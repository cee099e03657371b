//! `casemate baseline`: a person's approval of a table of tensors, as a signed record.
//!
//! The record is signed with the project's own key: it shows that whoever holds the key said so, and when, and that
//! nobody changed it since. That approver and author are two people is their word.

use crate::cli::{BaselineApproveArgs, BaselineCommand, Format};
use crate::comparison::{self, WeightBaseline};
use crate::context::{Context, Project};
use crate::exit::{Exit, Failure};
use crate::gather;
use crate::state::State;

/// Longest name or reason, in bytes.
const WORDS_BYTES_MAX: usize = 2000;

/// Runs the command.
pub fn run(context: &Context, command: &BaselineCommand) -> Result<Exit, Failure> {
    match command {
        BaselineCommand::Approve(args) => approve(context, args),
    }
}

fn approve(context: &Context, args: &BaselineApproveArgs) -> Result<Exit, Failure> {
    context.format(&[Format::Text])?;
    let project = context.project(None)?;
    let words = [("--approver", &args.approver), ("--author", &args.author), ("--reason", &args.reason)];
    if let Some((option, _)) = words.iter().find(|(_, text)| text.trim().is_empty() || text.len() > WORDS_BYTES_MAX) {
        return Err(Failure::usage(format!("{option} must have 1 to {WORDS_BYTES_MAX} bytes")));
    }
    let (approver, author) = (args.approver.trim(), args.author.trim());
    if approver.to_lowercase() == author.to_lowercase() {
        let message = format!("`{author}` made these weights and approves them; somebody else has to");
        return Err(Failure::usage(message));
    }
    let baseline = comparison::read_weights(&args.file)?;
    let model = model(&project, args, &baseline)?;
    let mut state = State::open_existing(&project)?;
    super::check::refuse_damaged(&state.verify()?)?;
    let evidence =
        gather::weights::baseline_approval(&model, &baseline, (approver, author, args.reason.trim()), context.now());
    let ids = state.append(&[evidence])?;
    let tensors: usize = baseline.table.artifacts.iter().map(|file| file.tensors.len()).sum();
    let text = format!(
        "approved: model `{model}`, {tensors} tensors, baseline sha256 {}\nrecord {}\n",
        baseline.digest,
        ids.concat()
    );
    context.emit(&text)?;
    Ok(Exit::Passed)
}

/// The project's model the approval is for: the one named, or the only one that names the file as its baseline.
fn model(project: &Project, args: &BaselineApproveArgs, baseline: &WeightBaseline) -> Result<String, Failure> {
    let models = &project.config.models;
    if let Some(name) = &args.model {
        return match models.iter().any(|model| model.name == *name) {
            true => Ok(name.clone()),
            false => Err(Failure::usage(format!("casemate.toml declares no model `{name}`"))),
        };
    }
    let is_it = |path: &String| comparison::digest(&project.root.join(path)) == Some(baseline.digest);
    let named: Vec<_> = models.iter().filter(|model| model.baseline.as_ref().is_some_and(is_it)).collect();
    match named.as_slice() {
        [one] => Ok(one.name.clone()),
        [] => Err(Failure::usage(format!(
            "no model in casemate.toml names `{0}`; add `baseline = \"{0}\"` to its `[[model]]`, or say --model NAME",
            args.file.display()
        ))),
        _ => Err(Failure::usage("several models name this file; say which with --model NAME")),
    }
}
