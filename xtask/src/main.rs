//! The repository's own commands: `cargo xtask COMMAND`.
//!
//! `tidy` holds the house to its rules, `codegen` writes the reference docs, `test`, `fuzz`, `bench` and `realworld` set
//! up what they need and run.
//! Nothing here ships.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod codegen;
mod fuzz;
mod python;
mod realworld;
mod rust_struct;
mod rust_text;
mod test;
mod tidy;
mod toml_file;
mod tree;

use std::process::ExitCode;

use tree::Tree;

const HELP: &str = "\
The repository's own commands.

Usage: cargo xtask COMMAND

Commands:
  tidy                    check the house rules; name every violation and what to do
  codegen [--check]       write docs/reference, or name the files that are stale
  test [ARGUMENT...]      run all tests; arguments go to `cargo test`
  fuzz [TARGET...] [--seconds N | --minutes N] [--list]
                          fuzz the parsers, 10 seconds each unless told otherwise
  bench scan | weights    the scanner beside its peers, as ratios
  bench provenance [--gib N]
                          signing, verifying and sealing beside the reference, age and bare hashes
  realworld [--keep]      scan the models in public packages; keep what was fetched
  help                    print this
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let Some((command, rest)) = arguments.split_first() else {
        print!("{HELP}");
        return Ok(ExitCode::from(2));
    };
    if command != "test" && rest.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let tree = Tree::here()?;
    match command.as_str() {
        "tidy" => tidy::run(&tree, rest),
        "codegen" => codegen::run(&tree, rest),
        "test" => test::run(&tree, rest),
        "fuzz" => fuzz::run(&tree, rest),
        "bench" => bench::run(&tree, rest),
        "realworld" => realworld::run(&tree, rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        other => anyhow::bail!("no command `{other}`; `cargo xtask help` lists them"),
    }
}
