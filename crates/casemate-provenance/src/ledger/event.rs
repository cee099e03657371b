//! An entry of the ledger: a small canonical JSON text that stands for an envelope.
//!
//! Entries hold at most 65,535 bytes, so evidence itself lies in envelopes beside the tree. Canonical means RFC 8785: keys
//! sorted, no white space, and here only strings and non-negative integers, so that one event has one leaf hash.

use casemate_core::{Digest, Evidence, Outcome, Subject, SubjectKind, Timestamp};
use serde::{Deserialize, Serialize};

use crate::hash::sha256;

/// What the tree says of one record. Fields stand in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Who or what ran the probe.
    pub actor: String,
    /// Where the evidence lies.
    pub envelope: EnvelopeReference,
    /// Kind of evidence.
    pub kind: String,
    /// What came out.
    pub outcome: Outcome,
    /// What it is about.
    pub subject: EventSubject,
    /// When the probe ended.
    pub time: Timestamp,
}

/// Names the bytes of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeReference {
    /// SHA-256 of the envelope.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A subject, its fields in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSubject {
    /// Its identity.
    pub digest: Digest,
    /// What kind of thing.
    pub kind: SubjectKind,
    /// Its name.
    pub name: String,
}

impl Event {
    /// The event of `evidence` in `envelope`.
    pub fn of(evidence: &Evidence, envelope: &[u8]) -> Self {
        let Subject { kind, name, digest } = evidence.subject.clone();
        Self {
            actor: evidence.actor.clone(),
            envelope: EnvelopeReference { sha256: sha256(envelope), size: envelope.len() as u64 },
            kind: evidence.kind.clone(),
            outcome: evidence.outcome,
            subject: EventSubject { digest, kind, name },
            time: evidence.finished_at,
        }
    }

    /// The entry.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, integers and unit variants always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads an entry; `None` when it is not an event in canonical form.
    pub fn parse(entry: &[u8]) -> Option<Self> {
        let event: Self = serde_json::from_slice(entry).ok()?;
        (event.to_bytes() == entry).then_some(event)
    }
}

impl EnvelopeReference {
    /// The envelope's path below the ledger.
    pub fn path(&self) -> String {
        envelope_path(self.sha256)
    }
}

/// The path of the envelope with this digest.
pub(super) fn envelope_path(digest: Digest) -> String {
    let hex = digest.to_string();
    format!("envelopes/{}/{hex}.json", hex.get(..2).unwrap_or_default())
}

/// The digest of the envelope at this path, when it is the path of one.
pub(super) fn parse_envelope_path(path: &str) -> Option<Digest> {
    let name = path.rsplit_once('/')?.1.strip_suffix(".json")?;
    name.parse().ok().filter(|digest| envelope_path(*digest) == path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::evidence;

    #[test]
    fn an_entry_is_canonical_json() {
        let mut evidence = evidence(3);
        evidence.actor = "a\"\\\n\u{1}\u{7f}é".into();
        let digest = evidence.subject.digest;
        let expected = format!(
            "{{\"actor\":\"a\\\"\\\\\\n\\u0001\u{7f}é\",\"envelope\":{{\"sha256\":\"{}\",\"size\":3}},\"kind\":\"artifact.scan\",\
             \"outcome\":\"pass\",\"subject\":{{\"digest\":\"{digest}\",\"kind\":\"model\",\"name\":\"model-3\"}},\
             \"time\":\"2026-11-21T09:30:03.503Z\"}}",
            sha256(b"abc")
        );
        let event = Event::of(&evidence, b"abc");
        assert_eq!(String::from_utf8(event.to_bytes()).unwrap(), expected);
        assert_eq!(Event::parse(expected.as_bytes()), Some(event));
    }

    #[test]
    fn the_same_event_spelled_another_way_is_no_entry() {
        let text = String::from_utf8(Event::of(&evidence(3), b"abc").to_bytes()).unwrap();
        for (from, to) in [
            (":3}", ":3.0}"),
            (":3}", ": 3}"),
            (":3}", ":3,\"x\":1}"),
            ("model-3", "mod\\u0065l-3"),
            (".503Z", ".503Z "),
        ] {
            assert!(text.contains(from));
            assert_eq!(Event::parse(text.replacen(from, to, 1).as_bytes()), None, "{to}");
        }
    }

    #[test]
    fn envelope_paths_name_their_digest() {
        let digest = sha256(b"abc");
        assert_eq!(parse_envelope_path(&envelope_path(digest)), Some(digest));
        assert_eq!(parse_envelope_path(&envelope_path(digest).replace("/ba/", "/bb/")), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_parsed_without_panic(bytes: Vec<u8>) {
            let _ = Event::parse(&bytes);
        }
    }
}
