//! `casemate attest provenance`: a training run with its inputs by digest.
//!
//! What is named by path is hashed here; what is named by digest is marked as declared.

use std::collections::BTreeMap;
use std::path::Path;

use casemate_core::Digest;
use casemate_provenance::Manifest;
use casemate_provenance::attestation::descriptor::ResourceDescriptor;
use casemate_provenance::attestation::predicate::Predicate;
use casemate_provenance::attestation::provenance::{
    BUILD_TYPE, BuildDefinition, Builder, DECLARED, FROM_SCRATCH, HYPER_PARAMETERS, INPUT, Input, METRICS,
    METRICS_AGAIN, Metadata, Provenance, RunDetails, TOLERANCE, object,
};
use serde_json::Value;

use super::{file_descriptor, make, whole_file};
use crate::attesting::Target;
use crate::cli::ProvenanceArgs;
use crate::context::{Context, Project};
use crate::exit::{Exit, Failure};
use crate::git::{self, Repository};

/// Annotation: where the input lay in the project, `/` between components.
pub const PATH: &str = "path";

/// Runs the command.
pub fn run(context: &Context, args: &ProvenanceArgs) -> Result<Exit, Failure> {
    make(context, &args.making, |project, subject| {
        let provenance = provenance(context, project, &subject.name, args)?;
        for missing in provenance.missing() {
            context.say(&format!("note: the statement says nothing about: {missing}"));
        }
        Ok(Predicate::Provenance(Box::new(provenance)))
    })
}

fn provenance(context: &Context, project: &Project, model: &str, args: &ProvenanceArgs) -> Result<Provenance, Failure> {
    let mut external_parameters: BTreeMap<String, Value> = [("model".to_owned(), model.into())].into();
    if args.from_scratch {
        external_parameters.insert(FROM_SCRATCH.into(), true.into());
    }
    let mut dependencies = code(project, args)?;
    dependencies.extend(data(project, args)?);
    if let Some(path) = &args.parameters {
        external_parameters.insert(HYPER_PARAMETERS.into(), parameters(path)?);
        dependencies.push(of_file(project, path, Input::Parameters)?);
    }
    for base in &args.base {
        let target = Target::find(project, base)?;
        dependencies.push(of_tree(project, &target.name, &target.path, Input::BaseModel)?);
    }
    for path in &args.environment {
        dependencies.push(of_file(project, path, Input::Environment)?);
    }
    let mut byproducts = Vec::new();
    if let Some(path) = &args.metrics {
        byproducts.push(metrics(path, METRICS)?);
    }
    if let Some((path, tolerance)) = args.rerun_metrics.as_ref().zip(args.tolerance) {
        if !tolerance.is_finite() || tolerance < 0.0 {
            return Err(Failure::usage("--tolerance must be a number of 0 or more"));
        }
        byproducts.push(metrics(path, METRICS_AGAIN)?.with(TOLERANCE, tolerance));
    }
    let metadata = Metadata {
        invocation_id: args.invocation.clone(),
        started_on: args.started,
        finished_on: Some(args.finished.unwrap_or_else(|| context.now())),
    };
    let version = [("casemate".to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into();
    Ok(Provenance {
        build_definition: BuildDefinition {
            build_type: BUILD_TYPE.into(),
            external_parameters,
            internal_parameters: BTreeMap::new(),
            resolved_dependencies: dependencies,
        },
        run_details: RunDetails {
            builder: Builder { id: args.builder.clone(), version },
            metadata: Some(metadata),
            byproducts,
        },
    })
}

fn code(project: &Project, args: &ProvenanceArgs) -> Result<Vec<ResourceDescriptor>, Failure> {
    let mut found = Vec::new();
    for path in &args.code {
        found.push(of_tree(project, &path.to_string_lossy(), path, Input::Code)?);
    }
    let Some(given) = &args.code_commit else { return Ok(found) };
    let repository = Repository::around(&project.root);
    let head = || repository.as_ref().and_then(Repository::head);
    let commit = match given.as_str() {
        "HEAD" => head().ok_or_else(|| Failure::usage("--code-commit HEAD: no commit is checked out here"))?,
        full => git::commit(full)
            .ok_or_else(|| Failure::usage(format!("--code-commit `{full}` is no full commit id, nor HEAD")))?,
    };
    let commit_descriptor = ResourceDescriptor::of_commit("code", &commit).with(INPUT, Input::Code.as_str());
    found.push(match repository.is_some_and(|repository| repository.has(&commit)) {
        true => commit_descriptor,
        false => commit_descriptor.with(DECLARED, true),
    });
    Ok(found)
}

fn data(project: &Project, args: &ProvenanceArgs) -> Result<Vec<ResourceDescriptor>, Failure> {
    let mut found = Vec::new();
    for given in &args.data {
        let path = Path::new(given);
        let by_name = || project.config.datasets.iter().find(|dataset| dataset.name == *given);
        let place = match (path.exists(), by_name()) {
            (true, _) => path.to_owned(),
            (false, Some(dataset)) => project.root.join(&dataset.path),
            (false, None) => {
                return Err(Failure::usage(format!("--data `{given}` is neither a path nor a declared data set")));
            }
        };
        found.push(of_tree(project, given, &place, Input::Data)?);
    }
    for given in &args.data_digest {
        let parsed = given.rsplit_once("=sha256:").and_then(|(name, hex)| Some((name, hex.parse::<Digest>().ok()?)));
        let Some((name, digest)) = parsed.filter(|(name, _)| !name.is_empty()) else {
            return Err(Failure::usage(format!(
                "--data-digest `{given}` is not NAME=sha256:HEX, 64 lower-case digits"
            )));
        };
        let descriptor = ResourceDescriptor::of_manifest(name, digest).with(INPUT, Input::Data.as_str());
        found.push(descriptor.with(DECLARED, true));
    }
    Ok(found)
}

/// Files at or under `path`, by their manifest.
fn of_tree(project: &Project, name: &str, path: &Path, input: Input) -> Result<ResourceDescriptor, Failure> {
    let manifest = Manifest::of_path(path, &|_| ()).map_err(Failure::not_evaluated)?;
    let descriptor = ResourceDescriptor::of_manifest(name, manifest.digest()).with(INPUT, input.as_str());
    Ok(placed(project, path, descriptor))
}

fn of_file(project: &Project, path: &Path, input: Input) -> Result<ResourceDescriptor, Failure> {
    Ok(placed(project, path, file_descriptor(path)?.with(INPUT, input.as_str())))
}

/// The same with its place in the project, where it lies there.
fn placed(project: &Project, path: &Path, descriptor: ResourceDescriptor) -> ResourceDescriptor {
    let real = std::fs::canonicalize(path).ok().zip(std::fs::canonicalize(&project.root).ok());
    let below = real.and_then(|(path, root)| Some(path.strip_prefix(root).ok()?.to_str()?.to_owned()));
    match below {
        Some(below) => descriptor.with(PATH, below.replace(std::path::MAIN_SEPARATOR, "/")),
        None => descriptor,
    }
}

fn parameters(path: &Path) -> Result<Value, Failure> {
    let refuse = |what: &dyn std::fmt::Display| Failure::usage(format!("`{}`: {what}", path.display()));
    let bytes = whole_file(path)?;
    let members = match path.extension().is_some_and(|ending| ending == "toml") {
        true => {
            let text = std::str::from_utf8(&bytes).map_err(|error| refuse(&error))?;
            let table: toml::Table =
                toml::from_str(text).map_err(|error| refuse(&crate::config::at_line(text, &error)))?;
            table.into_iter().map(|(name, value)| (name, json(value))).collect()
        }
        false => object(&bytes).map_err(|error| refuse(&error))?,
    };
    Ok(Value::Object(members.into_iter().collect()))
}

/// A TOML value as JSON; the TOML reader bounds the depth.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(n) => n.into(),
        toml::Value::Float(n) => serde_json::Number::from_f64(n).map_or_else(|| n.to_string().into(), Value::Number),
        toml::Value::Boolean(is) => is.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(json).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(name, value)| (name, json(value))).collect(),
    }
}

fn metrics(path: &Path, name: &str) -> Result<ResourceDescriptor, Failure> {
    let bytes = whole_file(path)?;
    let members = object(&bytes).map_err(|error| Failure::usage(format!("`{}`: {error}", path.display())))?;
    if let Some((name, _)) = members.iter().find(|(_, value)| !value.is_number()) {
        return Err(Failure::usage(format!("`{}`: `{name}` is no number", path.display())));
    }
    let descriptor = ResourceDescriptor::of(name, casemate_provenance::sha256(&bytes));
    Ok(descriptor.with_content(&bytes, "application/json"))
}
