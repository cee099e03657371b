//! `casemate gate`: whether a stage opens, and what keeps it shut; signed, if asked for.

mod summary;

use std::fmt::Write as _;

use casemate_assess::GateVerdict;

use super::check::FORMATS;
use crate::cli::{Format, GateArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::posture::stage;

/// Runs the command.
pub fn run(context: &Context, args: &GateArgs) -> Result<Exit, Failure> {
    let format = context.format(FORMATS)?;
    let assessed = super::assess::build(context, "gate", stage(&args.stage)?)?;
    if let Some((file, key)) = args.attest.as_ref().zip(args.key.as_ref()) {
        summary::attest(context, &assessed, args, (file, key))?;
    }
    let report = assessed.report;
    let verdict = report.posture.as_ref().and_then(|posture| posture.gate.as_ref());
    match (format, verdict) {
        (Format::Text, Some(verdict)) => {
            context.emit(&text(verdict))?;
            Ok(super::assess::exit(&report))
        }
        _ => Ok(super::scan::emit(context, &report, format, super::assess::exit(&report))),
    }
}

fn text(verdict: &GateVerdict) -> String {
    let mut out = format!("gate {}: {}\n", verdict.stage.as_str(), verdict.outcome.as_str());
    for requirement in &verdict.requirements {
        let _ = writeln!(out, "  {:<8} {:<26} {}", requirement.status.as_str(), requirement.name, requirement.detail);
    }
    for loosened in &verdict.loosened {
        let _ = writeln!(out, "  note     the project's own policy asks for less: {loosened}");
    }
    out
}
