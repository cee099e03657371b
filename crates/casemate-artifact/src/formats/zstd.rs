//! Zstandard frames.
//!
//! Decoding is [`ruzstd`]'s; checksums are compared, not required. Skippable frames stay unclaimed, since readers skip them
//! and anything may stand there; frames that need a dictionary are undecodable. Source: RFC 8878.

use std::io::{self, Read};
use std::ops::Range;

use casemate_core::{SharedSource, Source};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder, errors::FrameDecoderError};

use super::unpack::{Codec, Ending, Input, Output, Streamed, drain, parse_packed, reader};
use super::{Format, FormatMeta, Object, Sniff};
use crate::{Malformed, Parsed, Probe, Trouble};

/// Reads Zstandard files.
pub(crate) struct Zstd;

const MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
/// Window lent to the decoder; `zstd -19` asks for 8 MiB, and the tool refuses more than 128 MiB unless told otherwise.
const WINDOW_BYTES_MAX: u64 = 32 << 20;
/// Window of a file that is read as a stream.
const LENT_BYTES_MAX: u64 = 8 << 20;

impl Format for Zstd {
    fn meta(&self) -> FormatMeta {
        FormatMeta {
            id: "zstd",
            title: "Zstandard file",
            extensions: &["zst", "zstd", "tzst", "pkl", "pickle", "joblib", "rds", "rda", "rdata", "tar"],
            runs_code: false,
            is_model: false,
        }
    }

    fn sniff(&self, probe: &Probe) -> Sniff {
        if probe.starts_with(MAGIC) { Sniff::Certain } else { Sniff::No }
    }

    fn parse(&self, object: &Object<'_>) -> Parsed {
        parse_packed(object, &Zstd, &[(".zst", ""), (".zstd", ""), (".tzst", ".tar")], true)
    }
}

impl Codec for Zstd {
    fn stream(&self, source: &dyn Source, range: Range<u64>, output: &mut Output) -> io::Result<Streamed> {
        let start = range.start;
        let (input, state) = Input::new(source, range);
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(if output.is_kept() { WINDOW_BYTES_MAX } else { LENT_BYTES_MAX });
        let mut stream = match StreamingDecoder::new_with_decoder(input, decoder) {
            Ok(stream) => stream,
            Err(error) => {
                let large = matches!(error, FrameDecoderError::WindowSizeTooBig { .. });
                let ending = if large { Ending::TooLong } else { Ending::Broken };
                return Ok(Streamed::nothing(ending));
            }
        };
        let mut unpacked = drain(&mut stream, &state, start, output)?;
        let decoder = stream.into_frame_decoder();
        let (written, computed) = (decoder.get_checksum_from_data(), decoder.get_calculated_checksum());
        if unpacked.ending == Ending::Whole && written.is_some() && written != computed {
            let what = "checksum after the frame is wrong: some readers read on, others stop";
            unpacked.malformed.push(Malformed::new(Trouble::Ambiguous, state.at(), what));
        }
        Ok(unpacked)
    }

    fn open(&self, source: &SharedSource, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(LENT_BYTES_MAX);
        let stream = StreamingDecoder::new_with_decoder(reader(source, range), decoder);
        Ok(Box::new(stream.map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error.to_string()))?))
    }

    fn begins(&self, head: &[u8]) -> bool {
        head.starts_with(MAGIC)
    }
}
