//! Lists the catalogue's files, so that the binary carries all of them and a new one needs no line of code.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let catalogue = Path::new(&env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("../../catalogue");
    let mut files = Vec::new();
    toml_files(&catalogue, &mut files)?;
    files.sort();
    let mut code = String::from(
        "/// Every file of the catalogue: path below `catalogue/`, and text.\npub static FILES: &[(&str, &str)] = &[\n",
    );
    for file in files {
        println!("cargo:rerun-if-changed={}", file.display());
        let path = file.strip_prefix(&catalogue).map_err(io::Error::other)?;
        let name = path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
        let _ = writeln!(code, "    ({name:?}, include_str!({:?})),", fs::canonicalize(&file)?);
    }
    code.push_str("];\n");
    println!("cargo:rerun-if-changed={}", catalogue.display());
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("catalogue_files.rs"), code)
}

fn toml_files(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            println!("cargo:rerun-if-changed={}", path.display());
            toml_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}
