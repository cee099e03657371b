//! The catalogue the binary carries, compiled when a command needs it.

use casemate_assess::{Catalogue, CatalogueError, Sources};

include!(concat!(env!("OUT_DIR"), "/catalogue_files.rs"));

/// Compiles the built-in catalogue.
///
/// # Errors
/// Every mistake in its files; a test compiles them, so a release has none.
pub fn built_in() -> Result<Catalogue, Vec<CatalogueError>> {
    let text = |name: &str| FILES.iter().find(|(path, _)| *path == name).map_or("", |(_, text)| *text);
    let under = |prefix: &str| -> Vec<(String, String)> {
        let files = FILES.iter().filter(|(path, _)| path.starts_with(prefix));
        files.map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    };
    Catalogue::compile(&Sources {
        controls: &under("controls/"),
        frameworks: &under("frameworks/"),
        kinds: ("kinds.toml", text("kinds.toml")),
        gates: ("gates.toml", text("gates.toml")),
        obligations: ("obligations.toml", text("obligations.toml")),
    })
}
