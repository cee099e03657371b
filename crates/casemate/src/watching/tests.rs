//! Judgements and events without a watcher: what is said once, what is said again, and what it holds.

use std::fs;

use casemate_core::Outcome;
use casemate_provenance::keys::signing::{KeyType, SigningKey};
use casemate_provenance::oms::SignWith;
use casemate_provenance::oms::compare::list;
use serde_json::Value;
use tempfile::TempDir;

use super::event::{Event, Known};
use super::*;

struct Place {
    directory: TempDir,
    target: Target,
    known: Known,
    remembered: Remembered,
}

/// A signed model of two files.
fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("model")).unwrap();
    fs::write(at("model/a"), "first").unwrap();
    fs::write(at("model/b"), "second").unwrap();
    let key = SigningKey::generate(KeyType::EcdsaP256).unwrap();
    key.public().save(&at("key.pub.pem")).unwrap();
    let signed = list(&at("model"), HashType::Sha256, &[], None, &|_| ()).unwrap();
    let bundle = oms::sign(signed, SignWith { key: &key, pq_key: None, certificates: &[] }).unwrap();
    fs::write(at("model.sig"), bundle).unwrap();
    let trust = Believed::keys(&[at("key.pub.pem")]).unwrap();
    let target = Target { name: "m".into(), path: at("model"), signature: at("model.sig"), trust, strict: false };
    Place { directory, target, known: Known::default(), remembered: Remembered::default() }
}

impl Place {
    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn look(&mut self) -> Option<Event> {
        let judgement = self.target.judge(&mut self.remembered);
        let of = (self.target.name.as_str(), self.target.path.as_path(), self.target.signature.as_path());
        self.known.news(judgement, of, SystemClock.now())
    }

    /// The state of the next event, which there must be.
    fn state(&mut self) -> &'static str {
        let event = self.look().expect("something to say");
        assert!(self.look().is_none(), "and to say once");
        event.state()
    }
}

#[test]
fn a_change_is_said_once_with_the_digests_and_so_is_its_end() {
    let mut place = place();
    assert_eq!(place.state(), "intact");
    fs::write(place.at("model/a"), "fIrst").unwrap();
    fs::write(place.at("model/c.py"), "").unwrap();
    let event = place.look().unwrap();
    let line: Value = serde_json::from_str(&event.line()).unwrap();
    assert_eq!((line["state"].as_str(), event.line().matches('\n').count()), (Some("altered"), 1));
    let digest = |bytes: &str| format!("sha256:{}", sha256(bytes.as_bytes()));
    assert_eq!(line["files"][0]["expected"], digest("first"));
    assert_eq!(line["files"][0]["found"], digest("fIrst"));
    assert_eq!((&line["files"][1]["how"], &line["files"][1]["expected"]), (&"added".into(), &Value::Null));
    let evidence = event.evidence();
    assert_eq!((evidence.outcome, evidence.findings.len()), (Outcome::Fail, 2));
    assert!(event.is_alert() && event.words().contains("1 changed, 1 added"), "{}", event.words());
    fs::write(place.at("model/b"), "sEcond").unwrap();
    assert_eq!(place.state(), "altered", "another file is news");
    fs::write(place.at("model/a"), "first").unwrap();
    fs::write(place.at("model/b"), "second").unwrap();
    fs::remove_file(place.at("model/c.py")).unwrap();
    assert_eq!(place.state(), "restored");
}

#[test]
fn what_vanishes_is_unverifiable_and_a_key_put_in_its_place_is_none() {
    let mut place = place();
    assert_eq!(place.state(), "intact");
    for name in ["model.sig", "key.pub.pem", "model"] {
        fs::rename(place.at(name), place.at("away")).unwrap();
        assert_eq!(place.state(), "unverifiable", "{name}");
        fs::rename(place.at("away"), place.at(name)).unwrap();
        assert_eq!(place.state(), "restored", "{name}");
    }
    // Model, signature and key replaced together: only what was there before tells.
    let other = self::place();
    for name in ["model/a", "model.sig", "key.pub.pem"] {
        fs::write(other.at("model/a"), "other").unwrap();
        fs::copy(other.at(name), place.at(name)).unwrap();
    }
    let event = place.look().unwrap();
    assert_eq!(event.state(), "altered");
    assert!(event.words().contains("not the key it was"), "{}", event.words());
}

#[test]
fn a_signature_that_does_not_hold_is_an_alteration() {
    let mut place = place();
    assert_eq!(place.state(), "intact");
    fs::write(place.at("model.sig"), "{}").unwrap();
    assert_eq!(place.state(), "altered");
}

#[test]
fn many_differences_are_counted_and_some_are_named() {
    let mut place = place();
    for i in 0..FILES_NAMED_MAX + 5 {
        fs::write(place.at(&format!("model/new-{i}")), "").unwrap();
    }
    let event = place.look().unwrap();
    assert_eq!((event.judgement.files.len(), event.judgement.files_left_out), (FILES_NAMED_MAX, 5));
}
