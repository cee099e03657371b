//! Arguments of `crypto …`.

use clap::Subcommand;

/// `crypto …`
#[derive(Subcommand, Debug)]
pub enum CryptoCommand {
    /// List every algorithm and key in use: where, what for, and whether quantum computers are known to break it
    #[command(
        after_help = "Examples:\n  casemate crypto inventory\n  casemate crypto inventory --format csv -o algorithms.csv\n\n`casemate check` records the same list as evidence (control GOV-12).\nExit codes: 0 listed · 3 something could not be read\nFormats: text json csv"
    )]
    Inventory,
}
