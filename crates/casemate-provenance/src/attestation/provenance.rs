//! How a model was trained: SLSA provenance v1.
//!
//! Source: slsa.dev/spec/v1.1/provenance. Our build type is [`BUILD_TYPE`]; what its parameters and dependencies are called is
//! written in `docs/guide/attestations.md` and read back by [`Provenance::inputs`].

use std::collections::BTreeMap;

use casemate_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Error;
use super::descriptor::ResourceDescriptor;

/// The build type of a training run.
pub const BUILD_TYPE: &str = "urn:casemate:training:v1";
/// External parameter: the hyper-parameters, an object.
pub const HYPER_PARAMETERS: &str = "hyperParameters";
/// External parameter: `true` where the model was trained from random weights, so that no base model is missing.
pub const FROM_SCRATCH: &str = "fromScratch";
/// Annotation of a dependency: which input it is, one of [`Input`]'s names.
pub const INPUT: &str = "input";
/// Annotation of a dependency whose digest was stated and not computed.
pub const DECLARED: &str = "declared";
/// Byproduct: metrics of the run, a JSON object of numbers.
pub const METRICS: &str = "metrics";
/// Byproduct: the same of a repeated run, with the annotation `tolerance`.
pub const METRICS_AGAIN: &str = "metrics-rerun";
/// Annotation of [`METRICS_AGAIN`]: by how much a metric may differ.
pub const TOLERANCE: &str = "tolerance";

/// What a training run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    /// The program.
    Code,
    /// What it learns from.
    Data,
    /// The file of hyper-parameters.
    Parameters,
    /// The model it starts from.
    BaseModel,
    /// Packages, images, machines.
    Environment,
}

impl Input {
    /// Every input.
    pub const ALL: [Self; 5] = [Self::Code, Self::Data, Self::Parameters, Self::BaseModel, Self::Environment];

    /// Its name among annotations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Data => "data",
            Self::Parameters => "hyper-parameters",
            Self::BaseModel => "base-model",
            Self::Environment => "environment",
        }
    }
}

/// SLSA provenance v1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// What was asked for.
    pub build_definition: BuildDefinition,
    /// What took place.
    pub run_details: RunDetails,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// How to read the parameters.
    pub build_type: String,
    /// Chosen by whoever started it.
    pub external_parameters: BTreeMap<String, Value>,
    /// Chosen by the builder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub internal_parameters: BTreeMap<String, Value>,
    /// What it took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolved_dependencies: Vec<ResourceDescriptor>,
}

/// What took place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// Where.
    pub builder: Builder,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// What came out beside the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub byproducts: Vec<ResourceDescriptor>,
}

/// Where it took place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Builder {
    /// URI of the builder: what must be trusted for the rest to be true.
    pub id: String,
    /// Versions of its parts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub version: BTreeMap<String, String>,
}

/// When it took place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Which run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<String>,
    /// Its begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_on: Option<Timestamp>,
    /// Its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_on: Option<Timestamp>,
}

impl Provenance {
    /// The dependencies that are `input`.
    pub fn inputs(&self, input: Input) -> impl Iterator<Item = &ResourceDescriptor> {
        let is = move |dependency: &&ResourceDescriptor| {
            dependency.annotations.get(INPUT).and_then(Value::as_str) == Some(input.as_str())
        };
        self.build_definition.resolved_dependencies.iter().filter(is)
    }

    /// What a traceable run says and this one does not.
    pub fn missing(&self) -> Vec<&'static str> {
        let parameters = &self.build_definition.external_parameters;
        let is_object = |name: &str| parameters.get(name).is_some_and(Value::is_object);
        let from_scratch = parameters.get(FROM_SCRATCH) == Some(&Value::Bool(true));
        let metadata = self.run_details.metadata.clone().unwrap_or_default();
        let said = [
            ("code", self.inputs(Input::Code).next().is_some()),
            ("data", self.inputs(Input::Data).next().is_some()),
            ("hyper-parameters", is_object(HYPER_PARAMETERS) && self.inputs(Input::Parameters).next().is_some()),
            ("base model", from_scratch || self.inputs(Input::BaseModel).next().is_some()),
            ("begin and end", metadata.started_on.is_some() && metadata.finished_on.is_some()),
        ];
        said.into_iter().filter(|(_, said)| !said).map(|(name, _)| name).collect()
    }

    /// Whether a repeated run gave the same metrics within the stated tolerance; `None` where none was repeated.
    pub fn rerun_agrees(&self) -> Option<bool> {
        let byproduct = |name: &str| self.run_details.byproducts.iter().find(|byproduct| byproduct.name == name);
        let again = byproduct(METRICS_AGAIN)?;
        let agrees = || {
            let tolerance = again.annotations.get(TOLERANCE)?.as_f64().filter(|t| t.is_finite() && *t >= 0.0)?;
            let (first, again) = (metrics(byproduct(METRICS)?)?, metrics(again)?);
            let close =
                |(name, value): (&String, &f64)| first.get(name).is_some_and(|of| (of - value).abs() <= tolerance);
            Some(!first.is_empty() && first.len() == again.len() && again.iter().all(close))
        };
        Some(agrees().unwrap_or(false))
    }

    pub(super) fn checked(self) -> Result<Self, Error> {
        let refused = |what: &str| Err(Error::Malformed(what.into()));
        if self.build_definition.build_type.is_empty() || self.run_details.builder.id.is_empty() {
            return refused("provenance needs a build type and a builder");
        }
        for thing in self.build_definition.resolved_dependencies.iter().chain(&self.run_details.byproducts) {
            thing.check()?;
        }
        let metadata = self.run_details.metadata.as_ref();
        match metadata.and_then(|metadata| metadata.started_on.zip(metadata.finished_on)) {
            Some((started, finished)) if finished < started => refused("the run ends before it begins"),
            _ => Ok(self),
        }
    }
}

/// The members of a JSON object, no key twice.
///
/// # Errors
/// [`Error::Json`] when it is anything else.
pub fn object(bytes: &[u8]) -> Result<BTreeMap<String, Value>, Error> {
    crate::json::refuse_duplicate_keys(bytes).map_err(Error::Json)?;
    serde_json::from_slice(bytes).map_err(Error::Json)
}

/// The numbers in a byproduct: an object of numbers and nothing else.
fn metrics(byproduct: &ResourceDescriptor) -> Option<BTreeMap<String, f64>> {
    let members = object(&byproduct.content()?).ok()?;
    members.into_iter().map(|(name, value)| Some((name, value.as_f64()?))).collect()
}
