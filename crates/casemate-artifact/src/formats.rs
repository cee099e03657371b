//! The formats that can be read, each in its own file; this list is the registry.

use std::cell::Cell;

use casemate_core::{Limits, SharedSource};

use crate::{Malformed, Parsed, Probe, Role, Trouble};

// One line per format here …
mod bzip2;
mod catboost;
pub(crate) mod coreml;
mod coreml_weights;
mod dlib;
mod executable;
mod executorch;
mod fasttext;
mod ggml;
mod gguf;
mod gzip;
mod hdf5;
mod json;
mod keras_metadata;
mod llamafile;
mod lz4;
mod lzma;
mod msgpack;
mod mxnet;
mod npy;
mod ocdbt;
mod onnx;
mod openvino;
mod paddle;
mod paddle_parameters;
mod parquet;
pub(crate) mod pickle;
mod pmml;
mod r_data;
mod rar;
mod safetensors;
mod sealed;
mod seven_zip;
mod tar;
pub(crate) mod tensorflow;
mod tensorflow_checkpoint;
mod tensorflow_fingerprint;
pub(crate) mod tensorrt;
mod text;
mod tflite;
pub(crate) mod torch7;
mod torch_legacy;
mod ubjson;
mod xgboost_binary;
mod xml;
mod xz;
mod zip;
mod zlib;
mod zstd;
// Not formats: what the parsers share.
mod fields;
mod flatbuffer;
mod markup;
mod messages;
mod protobuf;
pub(crate) mod reading;
#[cfg(test)]
pub(crate) mod testing;
mod unpack;

pub(crate) use npy::kind_of_word as npy_kind;
pub(crate) use text::TEMPLATE_BYTES_MAX;

/// Every format. The first that is certain gives the object its name; those that are only likely come into play when
/// none is certain.
pub static FORMATS: &[&dyn Format] = &[
    // … and one here.
    &torch_legacy::TorchLegacy,
    // Before zip: an archive that is the last member of a tar ends the file as a zip does.
    &tar::Tar,
    // Before zip: an archive of labels stands behind the model.
    &tflite::Tflite,
    &executorch::Executorch,
    // Before zip and executable: it is both.
    &llamafile::Llamafile,
    &zip::Zip,
    // Before the packers: values stand before the nodes, packed or not.
    &ocdbt::Ocdbt,
    &safetensors::Safetensors,
    &gguf::Gguf,
    &ggml::Ggml,
    &sealed::Sealed,
    &hdf5::Hdf5,
    &npy::Npy,
    &parquet::Parquet,
    &mxnet::Mxnet,
    &tensorrt::Tensorrt,
    &dlib::Dlib,
    &torch7::Torch7,
    &catboost::Catboost,
    &fasttext::Fasttext,
    &ubjson::Ubjson,
    &xgboost_binary::XgboostBinary,
    &executable::Executable,
    &pickle::Pickle,
    &r_data::RData,
    // After pickle and R data, under whose endings packed ones go too: the first format with an ending is the one it promises.
    &seven_zip::SevenZip,
    &rar::Rar,
    &gzip::Gzip,
    &bzip2::Bzip2,
    &xz::Xz,
    &lzma::Lzma,
    &zstd::Zstd,
    &lz4::Lz4,
    &zlib::Zlib,
    // Before the other protobufs: the kinds of its objects are unmistakable.
    &keras_metadata::KerasMetadata,
    &onnx::Onnx,
    &tensorflow::Tensorflow,
    &tensorflow_checkpoint::TensorflowCheckpoint,
    &tensorflow_fingerprint::TensorflowFingerprint,
    &coreml::Coreml,
    &coreml_weights::CoremlWeights,
    &paddle::Paddle,
    &paddle_parameters::PaddleParameters,
    &msgpack::Msgpack,
    // Names end in `.xml` in all three; what begins like a network or a model is not plain XML.
    &xml::Xml,
    &openvino::Openvino,
    &pmml::Pmml,
    &json::Json,
    &text::PlainText,
];

/// A format that can be recognised and parsed.
pub trait Format: Sync {
    /// What it is.
    fn meta(&self) -> FormatMeta;

    /// Whether the bytes look like it. Names and extensions play no part.
    fn sniff(&self, probe: &Probe) -> Sniff;

    /// Whether an object of which it is certain is its own in this place too; another format may be after all.
    fn is_believable(&self, _object: &Object<'_>) -> bool {
        true
    }

    /// Whether it runs what its objects unpickle by itself, so that no other reading is needed.
    fn reads_pickles(&self) -> bool {
        false
    }

    /// Whether its objects are words for people, which it has looked over line by line.
    fn is_prose(&self) -> bool {
        false
    }

    /// Reads as much as can be read, on any bytes, within the limits and without panic.
    fn parse(&self, object: &Object<'_>) -> Parsed;
}

/// Facts about a format.
#[derive(Clone, Copy, Debug)]
pub struct FormatMeta {
    /// Kebab-case id; equals the file name with `-` for `_`.
    pub id: &'static str,
    /// Its name, for people.
    pub title: &'static str,
    /// Lower-case extensions under which it is ordinarily found; others are a mismatch where they promise another format.
    pub extensions: &'static [&'static str],
    /// Whether loading it can run code by design (SUP-02).
    pub runs_code: bool,
    /// Whether it holds a model or part of one.
    pub is_model: bool,
}

/// How sure a format is that an object is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sniff {
    /// It is not.
    No,
    /// It could be; parsing will tell. Comes into play when no format is certain.
    Likely,
    /// A magic number or an unmistakable structure says so.
    Certain,
}

/// An object about to be parsed, with what parsing may cost.
pub struct Object<'a> {
    /// Name of the file or member, for messages only.
    pub name: &'a str,
    /// Its bytes.
    pub source: &'a SharedSource,
    /// Its head and tail.
    pub probe: &'a Probe,
    /// What the enclosing loader does with it.
    pub role: Role,
    /// Bounds.
    pub limits: &'a Limits,
    /// What the whole file has cost so far.
    pub budget: &'a Budget,
}

/// What has been spent on one file, all its nested objects together.
#[derive(Debug, Default)]
pub struct Budget {
    members: Cell<u64>,
    inflated_bytes: Cell<u64>,
    held_bytes: Cell<u64>,
    /// What a file of its size may unpack to, where the size is known.
    inflatable_bytes: Option<u64>,
}

impl Budget {
    /// The budget of a file of `size_bytes`.
    ///
    /// Any file may unpack to 1 GiB, and to 100 times its size: weights compress to a half, pruned ones to a twentieth. A
    /// 17 MB archive of zeros would else take half a minute to reach 16 GiB.
    pub fn of_file(size_bytes: u64) -> Self {
        let inflatable_bytes = Some(size_bytes.saturating_mul(100).saturating_add(1 << 30));
        Self { inflatable_bytes, ..Self::default() }
    }

    /// Counts one more archive member.
    ///
    /// # Errors
    /// The trouble to report when `limits.members_max` is passed.
    pub fn member(&self, limits: &Limits) -> Result<(), Malformed> {
        self.members.set(self.members.get() + 1);
        match self.members.get() <= limits.members_max {
            true => Ok(()),
            false => Err(Malformed::new(Trouble::Limit, None, format!("more than {} members", limits.members_max))),
        }
    }

    /// Whether `n` more unpacked bytes may stay in memory as long as the file is read: 16 MiB of small members do.
    pub(crate) fn hold(&self, n: u64) -> bool {
        const HELD_BYTES_MAX: u64 = 16 << 20;
        let held = self.held_bytes.get().saturating_add(n);
        let room = held <= HELD_BYTES_MAX;
        self.held_bytes.set(if room { held } else { self.held_bytes.get() });
        room
    }

    /// Counts `n` more unpacked bytes.
    ///
    /// # Errors
    /// The trouble to report when `limits.inflated_bytes_max` is passed.
    pub fn inflated(&self, n: u64, limits: &Limits) -> Result<(), Malformed> {
        self.inflated_bytes.set(self.inflated_bytes.get().saturating_add(n));
        let max = self.inflatable_bytes.unwrap_or(u64::MAX).min(limits.inflated_bytes_max);
        match self.inflated_bytes.get() <= max {
            true => Ok(()),
            false => {
                let what = format!("unpacks to more than {max} bytes");
                Err(Malformed::new(Trouble::Limit, None, what))
            }
        }
    }
}
