//! A passphrase as key-encryption key: Argon2id makes a key of it, AES-256-GCM wraps.
//!
//! What the derivation costs stands in the file, so a hostile file could ask for gigabytes and hours; what is read is bounded.
//! Source: RFC 9106 (Argon2, by the `argon2` crate); its second recommended setting is what is written.

use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use casemate_core::Secret;

use super::header::Reader;
use super::local::{aad, malformed, no_randomness, refused, unwrap_under, wrap_under};
use super::wrap::{KeyWrapper, WrapError, WrapKind};
use super::{Error, random_key};

/// Most memory a file may ask for, in KiB: twice what is written.
const MEMORY_KIB_MAX: u32 = 128 << 10;
/// Most passes over the memory a file may ask for.
const PASSES_MAX: u32 = 8;
/// Most lanes a file may ask for.
const LANES_MAX: u8 = 16;
const SALT_BYTES: usize = 16;

/// What deriving a key costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u8,
}

/// RFC 9106, section 4: 64 MiB, three passes, four lanes.
const COST: Cost = Cost { memory_kib: 64 << 10, passes: 3, lanes: 4 };

/// A passphrase, with the salt that files sealed with it get.
pub struct Passphrase {
    passphrase: Secret<Vec<u8>>,
    salt: [u8; SALT_BYTES],
    /// The last key derived: the files of a directory share a salt, and each derivation costs.
    last: Mutex<Option<Derived>>,
}

/// A key and what it was derived with.
struct Derived {
    cost: Cost,
    salt: [u8; SALT_BYTES],
    key: Secret<[u8; 32]>,
}

impl Passphrase {
    /// A passphrase under a new salt.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn new(passphrase: Secret<Vec<u8>>) -> Result<Self, Error> {
        let random = random_key()?;
        let (salt, _) = random.expose().split_first_chunk().ok_or(Error::Random)?;
        Ok(Self { passphrase, salt: *salt, last: Mutex::new(None) })
    }

    fn key(&self, cost: Cost, salt: &[u8; SALT_BYTES]) -> Option<Secret<[u8; 32]>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !last.as_ref().is_some_and(|known| known.cost == cost && known.salt == *salt) {
            *last = Some(Derived { cost, salt: *salt, key: derive(&self.passphrase, salt, cost)? });
        }
        last.as_ref().map(|derived| derived.key.clone())
    }
}

impl KeyWrapper for Passphrase {
    fn kind(&self) -> WrapKind {
        WrapKind::Passphrase
    }

    fn kek_id(&self) -> String {
        let digits: String = self.salt.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("passphrase:{digits}")
    }

    fn wrap(&self, key: &Secret<[u8; 32]>, context: &[u8]) -> Result<Vec<u8>, WrapError> {
        let parameters = encode(COST, &self.salt);
        let kek = self.key(COST, &self.salt).ok_or_else(|| no_randomness(&self.kek_id()))?;
        let wrapped =
            wrap_under(&kek, key, &bound(&parameters, context)).ok_or_else(|| no_randomness(&self.kek_id()))?;
        Ok([parameters, wrapped].concat())
    }

    fn unwrap(&self, blob: &[u8], context: &[u8]) -> Result<Secret<[u8; 32]>, WrapError> {
        let (cost, salt, wrapped) =
            parse(blob).ok_or_else(|| malformed("passphrase", "not what a passphrase wraps"))?;
        if !cost.is_bearable() {
            return Err(malformed("passphrase", "the file asks for more memory or time than a derivation may take"));
        }
        let key = self.key(cost, &salt);
        let key = key.ok_or_else(|| malformed("passphrase", "no derivation has these parameters"))?;
        let parameters = encode(cost, &salt);
        unwrap_under(&key, wrapped, &bound(&parameters, context))
            .ok_or_else(|| refused("passphrase", "another passphrase"))
    }
}

impl Cost {
    fn is_bearable(self) -> bool {
        let lanes = u32::from(self.lanes);
        (1..=LANES_MAX).contains(&self.lanes)
            && (1..=PASSES_MAX).contains(&self.passes)
            && (8 * lanes..=MEMORY_KIB_MAX).contains(&self.memory_kib)
    }
}

fn derive(passphrase: &Secret<Vec<u8>>, salt: &[u8], cost: Cost) -> Option<Secret<[u8; 32]>> {
    let parameters = Params::new(cost.memory_kib, cost.passes, u32::from(cost.lanes), Some(32)).ok()?;
    let mut key = [0; 32];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    argon2.hash_password_into(passphrase.expose(), salt, &mut key).ok()?;
    Some(Secret::new(key))
}

fn bound(parameters: &[u8], context: &[u8]) -> Vec<u8> {
    [aad(WrapKind::Passphrase, context), parameters.to_vec()].concat()
}

/// u32 KiB of memory, u32 passes, u8 lanes, salt; the wrapped key follows.
fn encode(cost: Cost, salt: &[u8; SALT_BYTES]) -> Vec<u8> {
    [&cost.memory_kib.to_be_bytes()[..], &cost.passes.to_be_bytes(), &[cost.lanes], salt].concat()
}

fn parse(blob: &[u8]) -> Option<(Cost, [u8; SALT_BYTES], &[u8])> {
    let mut reader = Reader(blob);
    let memory_kib = u32::from_be_bytes(reader.array()?);
    let passes = u32::from_be_bytes(reader.array()?);
    let [lanes] = reader.array()?;
    let salt = reader.array()?;
    Some((Cost { memory_kib, passes, lanes }, salt, reader.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: &[u8] = &[7; 32];

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Secret::new(text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn the_argon2id_vector_of_rfc_9106_comes_out() {
        // Section 5.3: 32 KiB, 3 passes, 4 lanes, with a secret and associated data.
        let parameters = argon2::ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .data(argon2::AssociatedData::new(&[4; 12]).unwrap())
            .output_len(32)
            .build()
            .unwrap();
        let argon2 = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, parameters).unwrap();
        let mut key = [0; 32];
        argon2.hash_password_into(&[1; 32], &[2; 16], &mut key).unwrap();
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digits, "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
    }

    #[test]
    fn a_passphrase_opens_what_it_wrapped_under_any_salt_and_another_does_not() {
        let key = random_key().unwrap();
        let blob = passphrase("correct horse").wrap(&key, CONTEXT).unwrap();
        assert_eq!(passphrase("correct horse").unwrap(&blob, CONTEXT).unwrap().expose(), key.expose());
        assert!(matches!(passphrase("battery").unwrap(&blob, CONTEXT), Err(WrapError::Refused { .. })));
        assert!(matches!(passphrase("correct horse").unwrap(&blob, &[8; 32]), Err(WrapError::Refused { .. })));
    }

    #[test]
    fn a_blob_that_asks_for_too_much_is_refused_before_anything_is_derived() {
        let opener = passphrase("any");
        for (at, value) in [(0, [0xff, 0xff, 0xff, 0xff]), (4, [0, 0, 0x10, 0]), (0, [0; 4]), (4, [0; 4])] {
            let mut blob = [encode(COST, &[1; SALT_BYTES]), vec![0; 60]].concat();
            blob[at..at + 4].copy_from_slice(&value);
            let begun = std::time::Instant::now();
            assert!(matches!(opener.unwrap(&blob, CONTEXT), Err(WrapError::Malformed { .. })), "{at} {value:?}");
            assert!(begun.elapsed().as_millis() < 100);
        }
        let mut lanes = [encode(COST, &[1; SALT_BYTES]), vec![0; 60]].concat();
        lanes[8] = 0xff;
        assert!(matches!(opener.unwrap(&lanes, CONTEXT), Err(WrapError::Malformed { .. })));
        assert!(matches!(opener.unwrap(&lanes[..20], CONTEXT), Err(WrapError::Malformed { .. })));
    }
}
