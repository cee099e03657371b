//! `casemate waiver`: files in which a person answers for an open control, for a while.

use std::fs;

use casemate_assess::waiver::{self, WaiverLevel};

use crate::cli::{Format, WaiverAddArgs, WaiverCommand};
use crate::context::{Context, write_whole};
use crate::exit::{Exit, Failure};
use crate::posture::Rules;

/// Runs the command.
pub fn run(context: &Context, command: &WaiverCommand) -> Result<Exit, Failure> {
    match command {
        WaiverCommand::Add(args) => add(context, args),
        WaiverCommand::Lint => lint(context),
    }
}

fn add(context: &Context, args: &WaiverAddArgs) -> Result<Exit, Failure> {
    context.format(&[Format::Text])?;
    let project = context.project(None)?;
    let now = context.now();
    let rules = Rules::load(&project, now)?;
    let control = args.control.to_uppercase();
    let text = |value: &str| toml::Value::String(value.into()).to_string();
    let content = format!(
        "# Opens gates until it expires; never touches the score.\n[[waiver]]\ncontrol = {}\nscope = {}\nreason = {}\nowner = {}\n\
         approver = {}\ncreated = {}\nexpires = {}\ncompensating_control = {}\n",
        text(&control),
        text(&args.scope),
        text(&args.reason),
        text(&args.owner),
        text(&args.approver),
        now.date(),
        now.plus_days(args.days).date(),
        text(&args.compensating_control),
    );
    let directory = project.root.join(project.config.policy.waivers.as_deref().unwrap_or("waivers"));
    let file = format!("{}-{}{}.toml", control.to_lowercase(), scope_word(&args.scope), now.date());
    let (waivers, mut findings) = waiver::parse(&file, &content);
    findings.extend(waiver::lint(&waivers, &rules.catalogue, now));
    if let Some(error) = findings.iter().find(|finding| finding.level == WaiverLevel::Error) {
        return Err(Failure::usage(format!("waiver for {control}: {}; nothing was written", error.message)));
    }
    let path = directory.join(&file);
    if path.exists() {
        return Err(Failure::usage(format!("`{}` exists; edit or remove it", path.display())));
    }
    fs::create_dir_all(&directory)
        .map_err(|error| Failure::not_evaluated(format!("`{}`: {error}", directory.display())))?;
    write_whole(&path, content.as_bytes())?;
    context.say(&format!("wrote {}; commit it so that others see who answers for it", path.display()));
    Ok(Exit::Passed)
}

/// The scope as part of a file name; nothing for all.
fn scope_word(scope: &str) -> String {
    let word: String = scope.chars().filter(|c| c.is_alphanumeric() || *c == '-').take(40).collect();
    if word.is_empty() { word } else { format!("{word}-") }
}

fn lint(context: &Context) -> Result<Exit, Failure> {
    context.format(&[Format::Text])?;
    let project = context.project(None)?;
    let rules = Rules::load(&project, context.now())?;
    let mut out = String::new();
    for finding in &rules.waiver_findings {
        let level = match finding.level {
            WaiverLevel::Error => "error",
            WaiverLevel::Warning => "warning",
        };
        out.push_str(&format!("{level:<8} {}: {}: {}\n", finding.file, finding.waiver, finding.message));
    }
    let errors = rules.waiver_findings.iter().filter(|finding| finding.level == WaiverLevel::Error).count();
    out.push_str(&format!("{} waivers, {errors} errors\n", rules.waivers.len()));
    context.emit(&out)?;
    Ok(if errors > 0 { Exit::PolicyFailed } else { Exit::Passed })
}
