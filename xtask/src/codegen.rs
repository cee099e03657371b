//! `cargo xtask codegen`: writes docs/reference from the sources, so that it cannot say anything else than they do.

mod commands;
mod controls;
mod frameworks;
mod rules;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::tree::{File, Tree};

/// Where the pages go.
pub const DIRECTORY: &str = "docs/reference";

/// Writes the pages, or with `--check` compares them; exit code 1 when one is stale.
///
/// # Errors
/// When a source cannot be read or a page cannot be written.
pub fn run(tree: &Tree, arguments: &[String]) -> Result<ExitCode> {
    match arguments {
        [] => write(tree),
        [check] if check == "--check" => {
            let stale = stale(tree)?;
            stale.iter().for_each(|path| println!("{path} is stale; run `cargo xtask codegen`"));
            Ok(ExitCode::from(u8::from(!stale.is_empty())))
        }
        _ => anyhow::bail!("`codegen` takes `--check` or nothing"),
    }
}

/// The pages on disk that differ from what would be written, and those nothing writes any more.
///
/// # Errors
/// When a source cannot be read.
pub fn stale(tree: &Tree) -> Result<Vec<String>> {
    let pages = pages(tree)?;
    let mut stale = Vec::new();
    for page in &pages {
        if tree.file(&page.path)?.is_none_or(|file| file != *page) {
            stale.push(page.path.clone());
        }
    }
    let written = |path: &String| pages.iter().any(|page| page.path == *path);
    stale.extend(tree.paths(DIRECTORY)?.into_iter().filter(|path| !written(path)));
    Ok(stale)
}

fn write(tree: &Tree) -> Result<ExitCode> {
    let pages = pages(tree)?;
    std::fs::create_dir_all(tree.root.join(DIRECTORY))?;
    for page in &pages {
        std::fs::write(tree.root.join(&page.path), &page.text)
            .with_context(|| format!("cannot write {}", page.path))?;
        println!("{}", page.path);
    }
    for path in tree.paths(DIRECTORY)?.iter().filter(|path| pages.iter().all(|page| page.path != **path)) {
        println!("{path} is not written by codegen; remove it or move it out of {DIRECTORY}");
    }
    Ok(ExitCode::SUCCESS)
}

fn pages(tree: &Tree) -> Result<Vec<File>> {
    let controls = tree.files("catalogue/controls", "toml")?;
    let frameworks = tree.files("catalogue/frameworks", "toml")?;
    let mut detectors = tree.files("crates/casemate-artifact/src/detectors", "rs")?;
    // Rules that need two models to compare are the binary's.
    detectors.extend(tree.files("crates/casemate/src/comparison", "rs")?);
    let page = |name: &str, text: String| File::new(format!("{DIRECTORY}/{name}.md"), text);
    Ok(vec![
        page("commands", commands::page(tree)?),
        page("controls", controls::page(&controls)?),
        page("frameworks", frameworks::page(&frameworks, &controls)?),
        page("rules", rules::page(&detectors)?),
    ])
}

/// The first lines of every page.
fn head(title: &str, what: &str) -> String {
    format!("# {title}\n\n{what}\n\n<!-- Written by `cargo xtask codegen`; edit the sources instead. -->\n")
}

/// `text` as a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Texts as code, separated by commas; a dash when there are none.
fn codes<T: AsRef<str>>(texts: &[T]) -> String {
    match texts {
        [] => "–".into(),
        texts => texts.iter().map(|text| format!("`{}`", text.as_ref())).collect::<Vec<_>>().join(", "),
    }
}
