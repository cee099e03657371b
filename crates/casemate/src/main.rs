//! casemate keeps machine-learning models safe from their data to their retirement, and proves it.
//!
//! The binary joins the capability crates: it reads files and the clock, passes them in, and turns what comes out into
//! evidence, reports and an exit code. Reading order: [`cli`], [`context`], [`commands`], [`scanning`], [`gather`],
//! [`posture`], [`report`], [`render`].

mod accepted;
mod anchors;
mod attesting;
mod cache;
mod catalogue;
mod cli;
mod commands;
mod comparison;
mod config;
mod context;
mod crypto;
mod exit;
mod filters;
mod found;
mod gather;
mod git;
mod inventory;
mod models;
mod policy;
mod posture;
mod progress;
mod remote;
mod remote_keys;
mod render;
mod report;
mod scanning;
mod sealing;
mod small_file;
mod state;
mod verifying;
mod walk;
mod watching;
mod weights;

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;

use clap::Parser as _;

use cli::{Cli, Command};
use context::{Context, INTERRUPTED};
use exit::{Exit, Failure};

fn main() -> ExitCode {
    // A fault of ours is reported as a failure to judge, with its place, not as a stack of addresses.
    std::panic::set_hook(Box::new(|fault| exit::note_fault(fault.location())));
    let cli = Cli::parse();
    let exit = match std::panic::catch_unwind(|| run(cli)) {
        Ok(Ok(exit)) => exit,
        Ok(Err(failure)) => {
            let _ = writeln!(std::io::stderr().lock(), "casemate: {}", failure.message);
            failure.exit
        }
        Err(_) => {
            let _ = writeln!(
                std::io::stderr().lock(),
                "casemate: internal fault; nothing was concluded. Please report what you ran"
            );
            Exit::NotEvaluated
        }
    };
    ExitCode::from(exit.code())
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let context = Context::new(cli.globals)?;
    match &cli.command {
        Command::Init(args) => commands::init::run(&context, args),
        Command::Check(args) => interruptible(|| commands::check::run(&context, args)),
        Command::Scan(args) => interruptible(|| commands::scan::run(&context, args)),
        Command::Inventory(args) => interruptible(|| commands::inventory::run(&context, args)),
        Command::Keygen(args) => commands::keygen::run(&context, args),
        Command::Sign(args) => commands::sign::run(&context, args),
        Command::Verify(args) if args.watching.watch => interruptible(|| commands::verify::watch::run(&context, args)),
        Command::Verify(args) => commands::verify::run(&context, args),
        Command::Seal(args) => interruptible(|| commands::seal::run(&context, args)),
        Command::Open(args) => commands::open::run(&context, args),
        Command::Rewrap(args) => commands::rewrap::run(&context, args),
        Command::CryptoErase(args) => commands::crypto_erase::run(&context, args),
        Command::Attest(command) => commands::attest::run(&context, command),
        Command::Assess(args) => commands::assess::run(&context, args),
        Command::Report(args) => commands::assess::report(&context, args),
        Command::Gate(args) => commands::gate::run(&context, args),
        Command::Baseline(command) => commands::baseline::run(&context, command),
        Command::Controls(command) => commands::controls::run(&context, command),
        Command::Waiver(command) => commands::waiver::run(&context, command),
        Command::Ledger(command) => commands::ledger::run(&context, command),
        Command::Crypto(command) => commands::crypto::run(&context, command),
        Command::Schema(args) => commands::shell::schema(&context, args),
        Command::Completions(args) => commands::shell::completions(&context, args),
    }
}

/// Runs long work that stops cleanly at Ctrl-C; a second one ends the process.
fn interruptible(work: impl FnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    let handler = || {
        if INTERRUPTED.swap(true, Relaxed) {
            std::process::exit(130);
        }
    };
    // Without a handler Ctrl-C ends the process at once, which loses nothing that was recorded.
    let _ = ctrlc::set_handler(handler);
    work()
}
