//! Defects planted for [`judge`], so that a verdict of it means something: what passes anything shows nothing.

use casemate_core::{Digest, Timestamp};

use super::approval::{Stage, StageReached};
use super::judge::{Judged, Keyring, Standing, judge};
use super::predicate::{Predicate, Role};
use super::{ModelSubject, Statement};
use crate::keys::Error;
use crate::keys::KeyPair;
use crate::keys::attesting::AttestingKey;
use crate::keys::signing::KeyType;

/// How many defects were planted, and how many were seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfTest {
    /// Planted, a sound statement among them.
    pub planted: u64,
    /// Judged as they should be.
    pub caught: u64,
}

impl SelfTest {
    /// Whether every one was.
    pub fn holds(self) -> bool {
        self.planted > 0 && self.planted == self.caught
    }
}

/// Most lines whose keys are replaced by others.
const LINES_MAX: usize = 16;

/// Judges, with the keys of `keyring` and one made up for the purpose, a sound statement about `model` and five that are not.
///
/// # Errors
/// [`Error::Generate`] when there is no randomness.
pub fn self_test(keyring: &Keyring, model: &ModelSubject, now: Timestamp) -> Result<SelfTest, Error> {
    let (key, second) = (AttestingKey::Ed25519(KeyPair::generate()?), AttestingKey::generate(KeyType::MlDsa65)?);
    let (stranger, elsewhere) =
        (AttestingKey::Ed25519(KeyPair::generate()?), AttestingKey::Ed25519(KeyPair::generate()?));
    // A role of the made-up keys alone, or those of the project would have to sign as well.
    let mut own = Keyring::default();
    keyring
        .keys()
        .for_each(|known| own.trust(known.clone(), keyring.roles(&known.key_id()).into_iter().filter(|r| *r != ROLE)));
    own.trust(key.public(), [ROLE]);
    own.trust(second.public(), [ROLE]);
    own.trust(elsewhere.public(), [Role::Bom]);
    let other = ModelSubject { manifest: Digest(model.manifest.0.map(|byte| !byte)), file: None, ..model.clone() };
    let signed = |model: &ModelSubject, keys: &[&AttestingKey]| {
        let stage = StageReached { stage: Stage::AfterTraining, reached_at: now };
        Statement::about(model, Predicate::Stage(stage), now).sign(keys).unwrap_or_default()
    };
    let sound = signed(model, &[&key, &second]);
    let planted: [(Vec<u8>, Expected); 6] = [
        (sound.clone(), |standing| *standing == Standing::Good),
        (signed(model, &[&stranger]), |standing| *standing == Standing::UnknownKey),
        (signed(model, &[&elsewhere]), |standing| *standing == Standing::SignerRefused(ROLE)),
        (signed(&other, &[&key, &second]), |standing| *standing == Standing::OtherSubject),
        (edited(&sound, |envelope| envelope.payload.push(b' ')), |s| matches!(s, Standing::BadSignature(_))),
        (edited(&sound, |envelope| drop(envelope.signatures.pop())), |s| matches!(s, Standing::BadSignature(_))),
    ];
    let caught = planted.iter().filter(|(line, expected)| expected(&judge(line, &own, model, now).standing)).count();
    Ok(SelfTest { planted: planted.len() as u64, caught: caught as u64 })
}

/// Whether a standing is the one a planted line must have.
type Expected = fn(&Standing) -> bool;

/// The role that sound statements of the self-test need.
const ROLE: Role = Role::Training;

fn edited(line: &[u8], edit: impl FnOnce(&mut crate::dsse::Envelope)) -> Vec<u8> {
    let Ok(mut envelope) = crate::dsse::parse(line, line.len()) else { return Vec::new() };
    edit(&mut envelope);
    envelope.to_json()
}

/// Whether lines that were judged good are refused once every key is another of its kind, also under the name of the old one.
///
/// # Errors
/// [`Error::Generate`] when there is no randomness.
pub fn wrong_keys_refused(
    lines: &[Vec<u8>],
    judged: &[Judged],
    keyring: &Keyring,
    model: &ModelSubject,
    now: Timestamp,
) -> Result<bool, Error> {
    let mut wrong = Keyring::default();
    let mut names = Vec::new();
    for key in keyring.keys() {
        let another = key.another()?.public();
        names.push((key.key_id(), another.key_id()));
        wrong.trust(another, Role::ALL);
    }
    let refused = |line: &Vec<u8>| judge(line, &wrong, model, now).standing != Standing::Good;
    let renamed = |line: &Vec<u8>| {
        edited(line, |envelope| {
            for signature in &mut envelope.signatures {
                if let Some((_, to)) = names.iter().find(|(from, _)| *from == signature.keyid) {
                    signature.keyid.clone_from(to);
                }
            }
        })
    };
    let good = judged.iter().filter(|judged| judged.good().is_some()).take(LINES_MAX);
    let mut lines = good.filter_map(|judged| lines.get(judged.line.checked_sub(1)?));
    Ok(lines.all(|line| refused(line) && refused(&renamed(line))))
}
