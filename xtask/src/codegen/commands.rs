//! `commands.md`: what `casemate help` says of every command, asked of the binary itself.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::head;
use crate::tree::Tree;

/// Commands inside commands, at most: a help text that lists itself must not go on for ever.
const DEPTH_MAX: usize = 3;

/// The page made of the help texts; builds the binary.
pub fn page(tree: &Tree) -> Result<String> {
    let what = "Every command as `casemate help COMMAND` describes it. Options of all commands stand in each text.";
    let mut page = head("Commands", what);
    let ask = |path: &[String]| help(tree, path);
    sections(&mut page, &[], &ask)?;
    Ok(page)
}

fn sections(page: &mut String, path: &[String], ask: &dyn Fn(&[String]) -> Result<String>) -> Result<()> {
    let text = ask(path)?;
    let name = ["casemate"].into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", text.trim_end());
    if path.len() < DEPTH_MAX {
        for command in commands(&text) {
            let inner: Vec<_> = path.iter().cloned().chain([command]).collect();
            sections(page, &inner, ask)?;
        }
    }
    Ok(())
}

fn help(tree: &Tree, path: &[String]) -> Result<String> {
    let output = Command::new("cargo")
        .args(["run", "--quiet", "-p", "casemate", "--", "help"])
        .args(path)
        .current_dir(&tree.root)
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        // Settings of whoever runs this would show up as values in the text.
        .env_remove("CASEMATE_CONFIG")
        .env_remove("CASEMATE_STATE")
        .env_remove("CASEMATE_FORMAT")
        .output()
        .context("cannot run cargo")?;
    let asked = ["help"].into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().rfind(|line| line.starts_with("error")).unwrap_or("no error message");
    ensure!(output.status.success(), "`cargo run -p casemate -- {asked}` failed: {last}");
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(text.contains("Usage:"), "`casemate {asked}` prints no usage");
    Ok(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

/// The commands a help text lists, in its order. `help` itself is left out.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| line.trim() != "Commands:").skip(1);
    let listed = listed.take_while(|line| line.starts_with("  "));
    // Descriptions that continue on a second line are indented further than names.
    let names = listed.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let names = names.filter_map(|rest| rest.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "About.\n\nUsage: casemate [OPTIONS] <COMMAND>\n\nCommands:\n  scan    Scan\n          more of it\n  ledger  Look\n  help    Print this\n\nOptions:\n  -C <DIR>  x\n";

    #[test]
    fn listed_commands_are_found_without_their_descriptions() {
        assert_eq!(commands(HELP), ["scan", "ledger"]);
        assert!(commands("Usage: casemate scan\n").is_empty());
    }

    #[test]
    fn inner_commands_follow_their_outer_one() {
        let ask = |path: &[String]| {
            Ok(match path.last().map(String::as_str) {
                None => HELP.to_owned(),
                Some("ledger") => "Usage: x\n\nCommands:\n  show  Show\n".to_owned(),
                Some(_) => "Usage: x".to_owned(),
            })
        };
        let mut page = String::new();
        sections(&mut page, &[], &ask).unwrap();
        let titles: Vec<_> = page.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(titles, ["## casemate", "## casemate scan", "## casemate ledger", "## casemate ledger show"]);
    }
}
