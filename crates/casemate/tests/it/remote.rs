//! `casemate scan` of addresses: against a server of our own that keeps to the rules or breaks one of them, and against
//! real ones.

mod honest;
mod hostile;
mod registry;
pub mod server;
pub mod service;
mod services;
pub mod tls;

use std::path::Path;
use std::process::Command;

use super::{Run, command};

/// A harmless safetensors file of one tensor with `bytes` zeros.
fn safetensors(bytes: usize) -> Vec<u8> {
    let json = format!(r#"{{"w":{{"dtype":"U8","shape":[{bytes}],"data_offsets":[0,{bytes}]}}}}"#);
    let padded = format!("{json:width$}", width = json.len().next_multiple_of(8));
    [&(padded.len() as u64).to_le_bytes()[..], padded.as_bytes(), &vec![0; bytes]].concat()
}

/// The command without what the environment of whoever runs the tests says of servers and credentials.
pub fn quiet_command(directory: &Path) -> Command {
    let mut command = command(directory);
    let named = [
        "HF_",
        "AWS_",
        "VAULT_",
        "TRANSIT_",
        "DOCKER_",
        "SSL_CERT",
        "HTTP",
        "http",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
    ];
    for (name, _) in std::env::vars_os() {
        if named.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env_remove(&name);
        }
    }
    // Nor the login of whoever runs them.
    command.env("HOME", directory);
    command
}

fn scan(arguments: &[&str], environment: &[(&str, &str)]) -> Run {
    let directory = tempfile::tempdir().unwrap();
    let mut command = quiet_command(directory.path());
    command.arg("scan").args(arguments).args(["--format", "json"]).envs(environment.iter().copied());
    command.output().unwrap().into()
}

/// Number of a summary or measurement by name.
fn measured(report: &serde_json::Value, name: &str) -> f64 {
    let all = report["measurements"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name} in {all:?}"))["value"].as_f64().unwrap()
}
