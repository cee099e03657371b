//! What a parser makes of an object: one structure for all formats, so that a detector is written once.

use casemate_core::SharedSource;

use crate::pickle::Event;
use crate::weights::TensorSummary;
use crate::{Claims, Clue, CodeCall};

/// What was read from one object, and where reading broke.
#[derive(Default)]
pub struct Parsed {
    /// Bytes accounted for.
    pub claims: Claims,
    /// Where reading broke or readers may disagree.
    pub malformed: Vec<Malformed>,
    /// What pickle streams would import, call and write, in order of first appearance.
    pub events: Vec<Event>,
    /// Operators of a computation graph.
    pub operators: Vec<Operator>,
    /// Names of things outside the object, or of places to write to.
    pub references: Vec<Reference>,
    /// Strings worth judging: templates, metadata, code.
    pub texts: Vec<Text>,
    /// What its texts give away.
    pub clues: Vec<Clue>,
    /// Settings that decide which code a loader imports or runs.
    pub settings: Vec<Setting>,
    /// Calls in Python source.
    pub calls: Vec<CodeCall>,
    /// Objects a configuration asks its library to restore by name (Keras).
    pub serialized: Vec<Serialized>,
    /// What a document makes its reader do (XML).
    pub active: Vec<Active>,
    /// Tensor table.
    pub tensors: Vec<Tensor>,
    /// What the bytes of the tensors came to, where a scanner reads weights; parsers leave it empty.
    pub weights: Vec<TensorSummary>,
    /// Objects inside the object.
    pub children: Vec<Child>,
    /// A more specific name of the format than the parser's own, e.g. `pytorch-zip` for a zip.
    pub refined: Option<&'static str>,
}

/// A place where reading broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What kind of trouble, which decides the verdict.
    pub trouble: Trouble,
    /// Offset in bytes in the object, where known.
    pub offset: Option<u64>,
    /// One line, lower case: what is wrong.
    pub what: String,
}

impl Malformed {
    /// Trouble of a kind at an offset.
    pub fn new(trouble: Trouble, offset: impl Into<Option<u64>>, what: impl Into<String>) -> Self {
        Self { trouble, offset: offset.into(), what: what.into() }
    }
}

/// Kinds of trouble while reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// Two readers could see different things, or bytes are hidden: suspicious.
    Ambiguous,
    /// Cannot be decoded: unscannable.
    Undecodable,
    /// A limit was reached: unscannable.
    Limit,
    /// Encrypted: unscannable.
    Encrypted,
    /// The medium could not be read: unscannable.
    Unreadable,
}

/// One kind of operator in a graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operator {
    /// Domain or namespace, empty for the format's own.
    pub domain: String,
    /// Operator type.
    pub name: String,
}

/// A name that points out of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// What would be done with it.
    pub kind: ReferenceKind,
    /// The name as written.
    pub target: String,
    /// Who refers to it, e.g. a tensor's name.
    pub from: String,
    /// Offset in bytes in the object, where known.
    pub offset: Option<u64>,
}

/// What a loader would do with a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReferenceKind {
    /// Opens the file and reads tensor data.
    ExternalData,
    /// Unpacks a member under this name.
    MemberName,
    /// Creates a link to it.
    LinkTarget,
    /// Writes a member through this link, which an earlier member made.
    ThroughLink,
    /// Creates a device or pipe of this name.
    Device,
    /// Imports or runs it.
    Code,
}

/// A string with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What it is.
    pub kind: TextKind,
    /// Key or field it came from.
    pub key: String,
    /// The text.
    pub text: String,
    /// Offset in bytes in the object, where known.
    pub offset: Option<u64>,
}

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextKind {
    /// A template that a chat pipeline renders (Jinja).
    Template,
    /// Free metadata.
    Metadata,
}

/// A setting of a configuration that decides which code a loader imports or runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// What a loader does with it.
    pub kind: SettingKind,
    /// Its keys, joined by dots.
    pub path: String,
    /// Its value.
    pub value: String,
    /// Line in the text, from 1, where known.
    pub line: Option<u64>,
}

/// What a loader does with a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SettingKind {
    /// Imports the class from Python files of this or another repository (`auto_map`).
    AutoMap,
    /// Allows the code of whatever repository is named beside it.
    TrustRemoteCode,
    /// Imports a pipeline from Python files of the repository.
    CustomPipeline,
    /// Fetches the code of a generation loop from a repository.
    CustomGenerate,
    /// Imports a class of this dotted name as a step of a sentence-transformers model.
    PipelineModule,
    /// Imports this module to take a base model's class from it (PEFT).
    ParentLibrary,
    /// Imports this module and calls its loader (MLflow).
    LoaderModule,
    /// Runs this file or name for each request (TorchServe).
    Handler,
    /// Builds an object by loader and type, `loader module.name` (skops).
    SkopsNode,
    /// Imports and calls this dotted name (Hydra, NeMo).
    Target,
    /// Unpickles what the file beside it holds (a filter of Zarr).
    ObjectCodec,
    /// Imports, calls or builds this dotted name while the YAML is read.
    YamlObject,
    /// Installs packages from here.
    PackageIndex,
    /// A line that every start of Python runs, when the file is a `.pth` on its path.
    SiteHook,
    /// Stands for content kept elsewhere: its digest.
    LfsPointer,
}

/// An object a configuration names by class, for its library to find and restore (`serialize_keras_object`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serialized {
    /// Where it stands: the path of keys.
    pub key: String,
    /// Name of the class, or a marker such as `function`.
    pub class_name: String,
    /// Module the class is looked up in, where one is written.
    pub module: Option<String>,
    /// Name under which an application registered the class.
    pub registered_name: Option<String>,
    /// The function it names: the configuration itself where that is a text, or its `function` or `spec_name`.
    pub function: Option<String>,
    /// A vocabulary given as a text, that is, as a file to read.
    pub vocabulary: Option<String>,
}

/// Something in a document that makes its reader open, run or multiply, beyond reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// What its reader does.
    pub kind: ActiveKind,
    /// Its name in the document.
    pub name: String,
    /// The file, address or words concerned.
    pub target: String,
    /// Offset in bytes in the object.
    pub offset: u64,
}

/// What a document makes its reader do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActiveKind {
    /// Reads the file or address and puts its text in place (external entity).
    ExternalEntity,
    /// Reads more declarations from the file or address (external subset).
    ExternalSubset,
    /// Puts the file or address in place (XInclude).
    Include,
    /// Replaces short names by texts of so many bytes altogether.
    Expansion {
        /// Bytes, at most `u64::MAX`, which also stands for a text that contains itself.
        bytes: u64,
        /// Whether texts refer to further texts.
        nested: bool,
    },
    /// Follows an instruction for a program: a stylesheet, PHP.
    Instruction,
    /// Finds code of a script language where an application may run it.
    Script,
}

/// One tensor of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Name.
    pub name: String,
    /// Element type in the format's own word.
    pub dtype: String,
    /// Shape.
    pub shape: Vec<u64>,
    /// Byte range in the object, where inside it.
    pub span: Option<std::ops::Range<u64>>,
}

/// An object inside an object.
pub struct Child {
    /// Name inside the parent; never used as a path.
    pub name: String,
    /// Its bytes.
    pub source: SharedSource,
    /// What the parent's loader does with it.
    pub role: Role,
}

/// What the loader of the enclosing object does with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A file as given, or a member that may be anything.
    Any,
    /// Unpickled by torch, with its persistent ids.
    TorchPickle,
    /// The configuration of an object whose work a graph beside it does (Keras in a SavedModel).
    BesideGraph,
    /// Raw numbers; only unmistakable magic is looked for.
    RawData,
    /// A value that nothing unpickles: hostile content is at most suspicious.
    Inert,
    /// Bytes no parser claimed: looked at by content.
    Unclaimed,
}
