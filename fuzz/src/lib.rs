//! What the fuzz targets share: small limits, and one way to hand bytes to one format.
//!
//! The property is the same everywhere: on any bytes a parser comes back, within its limits, without panic. Debug
//! assertions and overflow checks are on, memory is capped at 512 MiB and one input at 10 seconds by the runner.

#![forbid(unsafe_code)]

use std::sync::Arc;

use casemate_artifact::formats::FORMATS;
use casemate_artifact::pickle::{self, Reading};
use casemate_artifact::{Budget, Object, Probe, Role, Scanner};
use casemate_core::{Limits, MemorySource, SharedSource};

/// Limits that inputs of a few kilobytes can reach, so that what lies behind them is exercised as well.
pub fn limits() -> Limits {
    Limits {
        depth_max: 4,
        members_max: 256,
        inflated_member_bytes_max: 1 << 20,
        inflated_bytes_max: 8 << 20,
        pickle_values_max: 1 << 12,
        pickle_events_max: 512,
        pickle_streams_max: 8,
        header_bytes_max: 1 << 14,
        entries_max: 1 << 10,
        nesting_max: 32,
        findings_max: 100,
    }
}

/// Scans `bytes` as a file of the given name.
pub fn scan(bytes: &[u8]) {
    let scan = Scanner::new(limits()).with_weights(&casemate_artifact::weights::NumbersOnly).scan("input.bin", source(bytes));
    assert!(scan.findings.len() as u64 <= limits().findings_max, "findings are within their limit");
}

/// Recognises and parses `bytes` as the format of the given id, whatever the other formats say.
pub fn parse_as(id: &str, bytes: &[u8]) {
    let Some(format) = FORMATS.iter().find(|format| format.meta().id == id) else {
        panic!("no format is registered as `{id}`");
    };
    let source = source(bytes);
    let Ok(probe) = Probe::read(source.as_ref()) else { return };
    let (limits, budget) = (limits(), Budget::default());
    let object =
        Object { name: "input", source: &source, probe: &probe, role: Role::Any, limits: &limits, budget: &budget };
    let _ = format.sniff(&probe);
    let parsed = format.parse(&object);
    let inside = parsed.claims.gaps(source.size_bytes()).iter().all(|gap| gap.end <= source.size_bytes());
    assert!(inside, "claims speak of bytes the object has");
}

/// Runs `bytes` as a pickle under every reading of its frames.
pub fn run_pickle(bytes: &[u8]) {
    let source = source(bytes);
    for reading in [Reading::Plain, Reading::FramesBuffered] {
        let stream = pickle::run(source.as_ref(), 0, reading, &limits(), 16);
        assert!(stream.end_offset <= source.size_bytes(), "a stream ends inside its source");
    }
}

fn source(bytes: &[u8]) -> SharedSource {
    Arc::new(MemorySource::new(bytes))
}

/// Reads `bytes` as a request for a time stamp and as an answer, and checks the answer with a certificate that signed none.
pub fn timestamp(bytes: &[u8]) {
    use casemate_provenance::timestamp::{Request, Response};
    let _ = Request::parse(bytes);
    let Ok(response) = Response::parse(bytes) else { return };
    let request = Request::new(b"message", [7; 8]);
    let now = casemate_core::Timestamp::from_unix_ms(1_795_253_400_000);
    assert!(response.verify(&request, b"message", Some(&[Vec::new()]), now).is_err(), "no root, no stamp");
}

/// Reads `bytes` as a witness's key, as signature lines, and as a note that this witness may have cosigned.
pub fn cosignature(bytes: &[u8]) {
    use casemate_provenance::cosignature::{WitnessKey, check};
    use casemate_provenance::{Checkpoint, note};
    const KEY: &str = include_str!("../seeds/cosignature/key");
    let _ = note::parse_lines(bytes);
    let _ = std::str::from_utf8(bytes).map(WitnessKey::parse);
    let (Ok(key), Ok(read)) = (WitnessKey::parse(KEY), note::parse(bytes)) else { return };
    if let Ok(head) = Checkpoint::parse(&read.text) {
        let _ = check(&read, &head, &[key]);
    }
}
