//! `casemate schema` and `casemate completions`: what other programs need to use this one.

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsArgs, Format, SchemaArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::render::REPORT_SCHEMA;

/// Runs `schema`.
pub fn schema(context: &Context, args: &SchemaArgs) -> Result<Exit, Failure> {
    context.format(&[Format::Text, Format::Json])?;
    match args.name.as_str() {
        "report" => context.emit(REPORT_SCHEMA)?,
        other => return Err(Failure::usage(format!("no schema `{other}`; there is `report`"))),
    }
    Ok(Exit::Passed)
}

/// Runs `completions`.
pub fn completions(context: &Context, args: &CompletionsArgs) -> Result<Exit, Failure> {
    use clap_complete::{Shell, generate};
    context.format(&[Format::Text])?;
    let mut command = Cli::command();
    let mut out = Vec::new();
    let shell = match args.shell.as_str() {
        "bash" => Shell::Bash,
        "elvish" => Shell::Elvish,
        "fish" => Shell::Fish,
        "powershell" => Shell::PowerShell,
        "zsh" => Shell::Zsh,
        _ => {
            clap_mangen::Man::new(command).render(&mut out).map_err(Failure::not_evaluated)?;
            context.emit(&String::from_utf8_lossy(&out))?;
            return Ok(Exit::Passed);
        }
    };
    generate(shell, &mut command, "casemate", &mut out);
    context.emit(&String::from_utf8_lossy(&out))?;
    Ok(Exit::Passed)
}
