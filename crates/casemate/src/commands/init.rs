//! `casemate init`: a commented configuration from what is found, signing keys and an empty ledger.

use std::fmt::Write as _;

use casemate_assess::facts;

use crate::cli::{Format, InitArgs};
use crate::context::{Context, Project, write_whole};
use crate::exit::{Exit, Failure};
use crate::models;
use crate::state::State;
use crate::walk::walk;

/// Runs the command.
pub fn run(context: &Context, args: &InitArgs) -> Result<Exit, Failure> {
    if let Some(directory) = &args.directory {
        std::fs::create_dir_all(directory)
            .map_err(|error| Failure::usage(format!("`{}`: {error}", directory.display())))?;
    }
    context.format(&[Format::Text])?;
    // Where one stands, not the project around it: that one has a configuration already.
    let here = std::path::PathBuf::from(".");
    let project = context.project(Some(args.directory.as_ref().unwrap_or(&here)))?;
    let path = project.root.join("casemate.toml");
    if path.exists() && !args.force {
        context.say(&format!("{} exists and stays as it is (--force writes it anew)", path.display()));
    } else {
        let text =
            configuration(context, &Project { config: crate::config::Config::default(), ..project_again(&project) })?;
        write_whole(&path, text.as_bytes())?;
        context.say(&format!("wrote {}", path.display()));
    }
    let state = State::open_or_create(&project)?;
    let made = if state.created { "created" } else { "found" };
    context.say(&format!("{made} signing keys and ledger in {}", project.state.display()));
    context.say("that directory keeps itself out of version control; run `casemate check` next");
    Ok(Exit::Passed)
}

/// What a configuration says about models of others.
const BASES: &str = "# Models of others that yours build on. source and revision: where it came from, at which commit (a branch or tag pins nothing).\n\
     # What its publisher states of its files, kept here and not beside them: digest, files, checksums, or signature with key.\n\
     # models: those of yours that build on it; all, where none are named.\n\
     # [[base]]\n# name = \"their-model\"\n# path = \"base\"\n# source = \"hf://org/name\"\n# revision = \"0123456789abcdef0123456789abcdef01234567\"\n\
     # files = { \"model.safetensors\" = \"sha256:…\", \"config.json\" = \"sha256:…\" }\n# checksums = \"base.SHA256SUMS\"\n\n";

fn project_again(project: &Project) -> Project {
    Project {
        root: project.root.clone(),
        name: project.name.clone(),
        config: project.config.clone(),
        config_text: project.config_text.clone(),
        state: project.state.clone(),
    }
}

fn configuration(context: &Context, project: &Project) -> Result<String, Failure> {
    let text = |value: &str| toml::Value::String(value.into()).to_string();
    let mut out = String::from("# What casemate should know about this project. Every key is optional.\n\n[project]\n");
    let _ = writeln!(out, "name = {}\n", text(&project.name));
    out.push_str(
        "# A model is a file or directory, identified by the digest of its full manifest.\n\
         # stage: draft evaluated approved staged serving deprecated retired; without one it counts as in use.\n\
         # baseline: the table of its approved weights, outside of the model (`casemate scan MODEL --write-baseline FILE`).\n\
         # signature: its signature (`casemate sign MODEL --key KEY.pem`), checked with the keys under [trust].\n\
         # stored: where it lies at rest, sealed (`casemate seal MODEL -o sealed --key KEY.pem`); its own path without it.\n\
         # attestations: statements about it (`casemate attest`), outside of the model, checked with the keys under [trust.roles].\n\
         # container: \"none\" where it is shipped in no container image.\n",
    );
    let models = models::census(context, project)?.models;
    for model in &models {
        let _ = writeln!(
            out,
            "[[model]]\nname = {}\npath = {}\n# stage = \"staged\"\n",
            text(&model.name),
            text(&model.shown)
        );
    }
    if models.is_empty() {
        out.push_str("# [[model]]\n# name = \"my-model\"\n# path = \"model\"\n# stage = \"staged\"\n\n");
    }
    out.push_str(BASES);
    out.push_str("# label: the column to learn, where there is one.\n");
    let tables = walk(".", &project.root).files.into_iter().map(|(shown, _)| shown);
    let tables: Vec<_> =
        tables.filter(|shown| [".parquet", ".csv", ".npz"].iter().any(|end| shown.ends_with(end))).collect();
    for shown in tables.iter().filter(|shown| !models.iter().any(|model| shown.starts_with(&model.shown))) {
        let name = shown.rsplit('/').next().unwrap_or(shown);
        let name = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let _ = writeln!(out, "[[dataset]]\nname = {}\npath = {}\n# label = \"label\"\n", text(name), text(shown));
    }
    if tables.is_empty() {
        out.push_str("# [[dataset]]\n# name = \"train\"\n# path = \"data/train.parquet\"\n# label = \"label\"\n\n");
    }
    out.push_str(
        "# Facts the tool cannot see for itself; recorded in the ledger as your signed declaration.\n\
         # They decide which controls apply. A fact left out counts against you.\n[system]\n",
    );
    for name in facts::NAMES {
        let _ = writeln!(out, "# {name} = false");
    }
    out.push_str(
        "\n# Files beside this one: gates of your own, controls that add to the catalogue or tighten it, waivers.\n\
         # [policy]\n# gates = \"gates.toml\"\n# overlay = \"controls\"\n# waivers = \"waivers\"\n\
         \n# Every store and cache outside of this directory that holds models of this system; `casemate inventory` sweeps them.\n\
         # `.` alone says that there is none.\n\
         # [inventory]\n# roots = [\".\", \"~/.cache/huggingface\"]\n\
         \n# Where heads of the ledger are kept out of reach of whoever writes it (`casemate ledger anchor`), and the authorities\n\
         # whose time stamps count; each is checked whenever the ledger is. git_notes looks under refs/notes/casemate.\n\
         # [ledger]\n# anchors = [\"/mnt/worm/digits-ledger\"]\n# git_notes = true\n# tsa_roots = \"keys/tsa.pem\"\n\
         \n# Public keys of signers: `keys` of models, `witnesses` of the ledger (`casemate ledger key` prints theirs), and which key may\n\
         # say what of a model in attestations.\n\
         # [trust]\n# keys = [\"keys/release.pub.pem\"]\n# pq_key = \"keys/release-pq.pub.pem\"\n# witnesses = []\n\
         # [trust.roles]\n# training = [\"keys/train.pub.pem\"]\n\
         # storage, deployment, scan, test, bom, approval and release likewise\n",
    );
    Ok(out)
}
