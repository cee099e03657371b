//! The detectors, each in its own file; this list is the registry.

use casemate_core::{Finding, Location, Meta, Severity};

use crate::pickle::Global;
use crate::{FormatMeta, Imports, Parsed, Role, Trouble, Verdict};

// One line per detector here …
mod address_in_text;
mod bytes_unclaimed;
mod configured_callable;
mod content_encrypted;
mod content_undecodable;
mod coreml_custom_code;
mod custom_operator;
mod embedded_executable;
mod extension_mismatch;
mod keras_unsafe_layer;
mod lfs_pointer;
mod limit_reached;
mod lua_function;
mod malformed_ambiguous;
mod package_source_foreign;
mod path_escape;
mod pickle_computed_name;
mod pickle_extension_code;
mod pickle_import_write;
mod pickle_persistent_id;
mod pickle_unsafe_global;
mod pickle_unvetted_call;
mod pickle_unvetted_import;
mod python_dangerous_call;
mod python_site_hook;
mod r_unsafe_code;
mod remote_code_reference;
mod secret_in_text;
mod skops_untrusted_node;
mod template_injection;
pub(crate) mod tensorflow_unsafe_operator;
mod unknown_format;
mod unsafe_format;
mod weights_not_finite;
mod weights_row_outlier;
mod xml_active_content;

/// Every detector.
pub static DETECTORS: &[&dyn Detector] = &[
    // … and one here.
    &address_in_text::AddressInText,
    &bytes_unclaimed::BytesUnclaimed,
    &configured_callable::ConfiguredCallable,
    &content_encrypted::ContentEncrypted,
    &content_undecodable::ContentUndecodable,
    &coreml_custom_code::CoremlCustomCode,
    &custom_operator::CustomOperator,
    &embedded_executable::EmbeddedExecutable,
    &extension_mismatch::ExtensionMismatch,
    &lfs_pointer::LfsPointer,
    &keras_unsafe_layer::KerasUnsafeLayer,
    &limit_reached::LimitReached,
    &lua_function::LuaFunction,
    &malformed_ambiguous::MalformedAmbiguous,
    &package_source_foreign::PackageSourceForeign,
    &path_escape::PathEscape,
    &pickle_computed_name::PickleComputedName,
    &pickle_extension_code::PickleExtensionCode,
    &pickle_import_write::PickleImportWrite,
    &pickle_persistent_id::PicklePersistentId,
    &pickle_unsafe_global::PickleUnsafeGlobal,
    &pickle_unvetted_call::PickleUnvettedCall,
    &pickle_unvetted_import::PickleUnvettedImport,
    &python_dangerous_call::PythonDangerousCall,
    &python_site_hook::PythonSiteHook,
    &r_unsafe_code::RUnsafeCode,
    &remote_code_reference::RemoteCodeReference,
    &secret_in_text::SecretInText,
    &skops_untrusted_node::SkopsUntrustedNode,
    &template_injection::TemplateInjection,
    &tensorflow_unsafe_operator::TensorflowUnsafeOperator,
    &unknown_format::UnknownFormat,
    &unsafe_format::UnsafeFormat,
    &xml_active_content::XmlActiveContent,
    &weights_not_finite::WeightsNotFinite,
    &weights_row_outlier::WeightsRowOutlier,
];

/// A judge of one kind of defect.
pub trait Detector: Sync {
    /// What it says of itself.
    fn meta(&self) -> &'static Meta;

    /// A file, name and bytes, in which the rule must fire: its self-test. Payloads are inert.
    fn planted(&self) -> (&'static str, Vec<u8>);

    /// Judges one object. A function of its input: no files, no clock, no chance.
    fn inspect(&self, inspection: &Inspection<'_>, found: &mut Findings);
}

/// Where findings go: so many are kept, and the worst counts whether it is kept or not.
#[derive(Debug)]
pub struct Findings {
    kept: Vec<Finding>,
    left_out: u64,
    max: usize,
    verdict: Verdict,
    /// What the enclosing loader does with the object being judged.
    role: Role,
}

impl Findings {
    /// None yet, room for `max`.
    pub fn new(max: u64) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        Self { kept: Vec::new(), left_out: 0, max, verdict: Verdict::Clean, role: Role::Any }
    }

    /// From now on findings are about an object in this role.
    pub fn about(&mut self, role: Role) {
        self.role = role;
    }

    /// Adds one.
    pub fn add(&mut self, mut finding: Finding) {
        // What nothing unpickles cannot do harm by itself: suspicious at most, and silent where it is merely odd.
        if self.role == Role::Inert {
            match finding.severity {
                Severity::Critical => finding.severity = Severity::High,
                _ => return,
            }
        }
        self.verdict = self.verdict.max(Verdict::of(&finding));
        match self.kept.len() < self.max {
            true => self.kept.push(finding),
            false => self.left_out += 1,
        }
    }

    /// The worst verdict of all added.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Those kept, the worst first, then by place; and how many were not kept.
    pub fn into_sorted(mut self) -> (Vec<Finding>, u64) {
        self.kept.sort_by(|a, b| {
            b.severity.cmp(&a.severity).then_with(|| a.location.cmp(&b.location)).then_with(|| a.rule.cmp(&b.rule))
        });
        (self.kept, self.left_out)
    }
}

/// One parsed object, with what a detector may need to judge it.
pub struct Inspection<'a> {
    /// Path of the file, as it goes into locations.
    pub path: &'a str,
    /// Path inside the file, members joined by `!`; empty for the file itself.
    pub member: &'a str,
    /// Id of the format, more specific where the parser could tell; `unknown` when none fits.
    pub format: &'static str,
    /// The parser's own format, if one recognised the object.
    pub family: Option<FormatMeta>,
    /// What the enclosing loader does with the object.
    pub role: Role,
    /// What was read.
    pub parsed: &'a Parsed,
    /// Non-zero bytes no parser claimed.
    pub unclaimed: &'a [std::ops::Range<u64>],
    /// The import policy.
    pub imports: &'a Imports,
}

impl Inspection<'_> {
    /// The location of something at `offset` bytes in this object.
    pub fn at(&self, offset: impl Into<Option<u64>>) -> Location {
        let member = (!self.member.is_empty()).then(|| self.member.to_owned());
        Location { path: self.path.to_owned(), member, offset: offset.into(), line: None }
    }

    /// One finding of `meta` for each trouble of the kinds given.
    fn troubles(&self, found: &mut Findings, meta: &Meta, kinds: &[Trouble]) {
        for malformed in self.parsed.malformed.iter().filter(|malformed| kinds.contains(&malformed.trouble)) {
            found.add(meta.finding(malformed.what.clone(), self.at(malformed.offset)));
        }
    }

    /// The innermost name: of the file, or of the member.
    pub fn name(&self) -> &str {
        let innermost = if self.member.is_empty() { self.path } else { self.member };
        innermost.rsplit(['/', '!']).next().unwrap_or(innermost)
    }
}

/// Why importing a dotted name is dangerous, wherever the module ends and the name in it begins.
pub(crate) fn danger_of(imports: &Imports, dotted: &str) -> Option<String> {
    let (module, name) = dotted.rsplit_once('.').unwrap_or((dotted, ""));
    let global = Global { module: module.into(), name: name.into(), known: true, python2: false };
    imports.danger(&global).map(str::to_owned)
}

/// Whether a dotted name is one of these packages or lies below one.
pub(crate) fn is_below(dotted: &str, packages: &[&str]) -> bool {
    packages
        .iter()
        .any(|package| dotted.strip_prefix(package).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// `text` shortened for a message, control characters escaped, in backticks.
pub(crate) fn quote(text: &str) -> String {
    let mut out: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        out.push('…');
    }
    format!("`{out}`")
}
