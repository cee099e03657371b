//! Evidence as an in-toto Statement v1, the payload of its envelope.
//!
//! Source: github.com/in-toto/attestation, `spec/v1/statement.md`. One subject, and it is the predicate's subject: a reader
//! that looks at the one must not see another thing than a reader of the other. Signatures are left to [`crate::dsse`].

use casemate_core::{Digest, Evidence};
use serde::{Deserialize, Serialize};

use crate::json;

/// DSSE payload type of a statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// The only `_type` read and written.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The only predicate type read and written.
pub const PREDICATE_TYPE: &str = "urn:casemate:evidence:v1";

/// Why bytes are not a statement of evidence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the JSON of a statement, or a key is repeated.
    #[error("statement is malformed: {0}")]
    Json(serde_json::Error),
    /// Another `_type` or `predicateType`.
    #[error("`{field}` is `{found}`, not `{expected}`")]
    Type {
        /// Which of the two.
        field: &'static str,
        /// What the statement says.
        found: String,
        /// The one that is read.
        expected: &'static str,
    },
    /// No subject, or several.
    #[error("statement has {n} subjects, not one")]
    Subjects {
        /// How many.
        n: usize,
    },
    /// Statement and predicate name two things.
    #[error("the statement's subject `{statement}` is not the predicate's subject `{predicate}`")]
    SubjectDiffers {
        /// Name and digest in the statement.
        statement: String,
        /// Name and digest in the predicate.
        predicate: String,
    },
    /// A number that JSON cannot hold would be read back as another record.
    #[error("evidence cannot be written as a statement: {0}")]
    NotWritable(serde_json::Error),
}

/// A statement with some predicate, as it is written.
#[derive(Serialize, Deserialize)]
pub(crate) struct Wire<E> {
    #[serde(rename = "_type")]
    pub(crate) statement_type: String,
    pub(crate) subject: Vec<WireSubject>,
    #[serde(rename = "predicateType")]
    pub(crate) predicate_type: String,
    pub(crate) predicate: E,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WireSubject {
    pub(crate) name: String,
    pub(crate) digest: WireDigest,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WireDigest {
    pub(crate) sha256: Digest,
}

/// The statement of `evidence`, always the same bytes.
///
/// # Errors
/// [`Error::NotWritable`] when a number is not finite.
pub fn to_json(evidence: &Evidence) -> Result<Vec<u8>, Error> {
    let subject = &evidence.subject;
    let wire = Wire {
        statement_type: STATEMENT_TYPE.into(),
        subject: vec![WireSubject { name: subject.name.clone(), digest: WireDigest { sha256: subject.digest } }],
        predicate_type: PREDICATE_TYPE.into(),
        predicate: evidence,
    };
    let bytes = serde_json::to_vec(&wire).map_err(Error::NotWritable)?;
    // serde_json writes NaN and infinities as null, which no number reads back.
    serde_json::from_slice::<Wire<Evidence>>(&bytes).map_err(Error::NotWritable)?;
    Ok(bytes)
}

/// Reads evidence from the bytes of a statement.
///
/// # Errors
/// Anything of [`Error`] but `NotWritable`.
pub fn parse(bytes: &[u8]) -> Result<Evidence, Error> {
    json::refuse_duplicate_keys(bytes).map_err(Error::Json)?;
    let wire: Wire<serde_json::Value> = serde_json::from_slice(bytes).map_err(Error::Json)?;
    require("_type", wire.statement_type, STATEMENT_TYPE)?;
    require("predicateType", wire.predicate_type, PREDICATE_TYPE)?;
    let wire: Wire<Evidence> = serde_json::from_slice(bytes).map_err(Error::Json)?;
    let [subject] = wire.subject.as_slice() else { return Err(Error::Subjects { n: wire.subject.len() }) };
    let named = &wire.predicate.subject;
    if subject.name != named.name || subject.digest.sha256 != named.digest {
        let statement = format!("{} {}", subject.name, subject.digest.sha256);
        let predicate = format!("{} {}", named.name, named.digest);
        return Err(Error::SubjectDiffers { statement, predicate });
    }
    Ok(wire.predicate)
}

fn require(field: &'static str, found: String, expected: &'static str) -> Result<(), Error> {
    match found == expected {
        true => Ok(()),
        false => Err(Error::Type { field, found, expected }),
    }
}

#[cfg(test)]
mod tests {
    use casemate_core::Fact;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::evidence;

    fn edited(from: &str, to: &str) -> Result<Evidence, Error> {
        let text = String::from_utf8(to_json(&evidence(1)).unwrap()).unwrap();
        assert!(text.contains(from), "{text}");
        parse(text.replacen(from, to, 1).as_bytes())
    }

    #[test]
    fn evidence_comes_back_from_its_statement() {
        for n in 0..20 {
            assert_eq!(parse(&to_json(&evidence(n)).unwrap()).unwrap(), evidence(n));
        }
    }

    #[test]
    fn statements_of_other_types_are_refused() {
        let unknown = |result| matches!(result, Err(Error::Type { .. }));
        assert!(unknown(edited("Statement/v1", "Statement/v0.1")));
        assert!(unknown(edited("evidence:v1", "evidence:v2")));
    }

    #[test]
    fn the_subject_must_be_one_and_the_predicates() {
        assert!(matches!(edited(r#""name":"model-1""#, r#""name":"model-2""#), Err(Error::SubjectDiffers { .. })));
        let digest = evidence(1).subject.digest.to_string();
        let other = evidence(2).subject.digest.to_string();
        assert!(matches!(edited(&digest, &other), Err(Error::SubjectDiffers { .. })));
        let subject = format!(r#"{{"name":"model-1","digest":{{"sha256":"{digest}"}}}}"#);
        assert!(matches!(edited(&subject, ""), Err(Error::Subjects { n: 0 })));
        assert!(matches!(edited(&subject, &format!("{subject},{subject}")), Err(Error::Subjects { n: 2 })));
    }

    #[test]
    fn a_repeated_key_is_refused_even_in_a_map() {
        let message = edited(r#""facts":{"#, r#""facts":{"files_count":7,"#).unwrap_err().to_string();
        assert!(message.contains("`files_count` is repeated"), "{message}");
    }

    #[test]
    fn a_number_json_cannot_hold_is_not_written() {
        let mut evidence = evidence(1);
        evidence.facts.insert("ratio".into(), Fact::Number(f64::NAN));
        assert!(matches!(to_json(&evidence), Err(Error::NotWritable(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_parsed_without_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn one_changed_byte_never_panics(at in 0usize..900, byte: u8) {
            let mut bytes = to_json(&evidence(3)).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = parse(&bytes);
        }
    }
}
