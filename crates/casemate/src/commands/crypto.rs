//! `casemate crypto`: the inventory of algorithms and keys, for whoever plans to replace them.

use std::fmt::Write as _;

use serde_json::json;

use crate::cli::{CryptoCommand, Format};
use crate::context::Context;
use crate::crypto::{self, CryptoInventory};
use crate::exit::{Exit, Failure};
use crate::render;

/// Runs the command.
pub fn run(context: &Context, command: &CryptoCommand) -> Result<Exit, Failure> {
    let CryptoCommand::Inventory = command;
    let format = context.format(&[Format::Text, Format::Json, Format::Csv])?;
    let found = crypto::inventory(&context.project(None)?)?;
    let text = match format {
        Format::Json => serde_json::to_string_pretty(&json!(found)).map_err(Failure::not_evaluated)? + "\n",
        Format::Csv => csv(&found),
        _ => text(&found),
    };
    context.emit(&text)?;
    Ok(if found.unread.is_empty() { Exit::Passed } else { Exit::NotEvaluated })
}

fn word(quantum_safe: Option<bool>) -> &'static str {
    match quantum_safe {
        Some(true) => "quantum-safe",
        Some(false) => "classical",
        None => "UNLISTED",
    }
}

fn csv(found: &CryptoInventory) -> String {
    let mut out = render::csv_row(&["algorithm", "quantum_safe", "standard", "purpose", "key_id", "place"]);
    for one in &found.uses {
        let standard = one.standard.unwrap_or_default();
        let key = one.key_id.as_deref().unwrap_or_default();
        let cells = [&one.algorithm, word(one.quantum_safe), standard, &one.purpose, key, &one.place];
        out.push_str(&render::csv_row(&cells));
    }
    out
}

fn text(found: &CryptoInventory) -> String {
    let mut out = String::new();
    for one in &found.uses {
        let key = match (&one.key_id, one.has_key) {
            (Some(id), _) => format!("  {}", id.get(..24).unwrap_or(id)),
            (None, true) => "  key without a name".into(),
            (None, false) => String::new(),
        };
        let (algorithm, safe, purpose) = (&one.algorithm, word(one.quantum_safe), one.purpose.escape_debug());
        let _ = writeln!(out, "{algorithm:<18} {safe:<12} {purpose} ({}){key}", one.place.escape_debug());
    }
    for why in &found.unread {
        let _ = writeln!(out, "unread: {why}");
    }
    let yes = |value: bool| if value { "yes" } else { "no" };
    let _ = writeln!(
        out,
        "{} algorithms in {} uses, {} unlisted",
        found.algorithms().len(),
        found.uses.len(),
        found.unlisted()
    );
    let _ = writeln!(out, "signatures of every declared model are hybrid: {}", yes(found.signatures_hybrid));
    let _ = writeln!(out, "connections prefer a hybrid key exchange: {}", yes(found.tls_hybrid));
    out
}
