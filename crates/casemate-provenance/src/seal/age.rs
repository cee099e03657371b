//! age keys as key-encryption keys: the wrapped key is a small age v1 file of its own, which `age --decrypt` reads as well.
//!
//! It holds the data key and, behind it, the context it belongs to. Recipients are X25519 (`age1…`); plugins, passphrases and
//! SSH keys are not read. Source: the age format, c2sp.org/age, on primitives of aws-lc-rs.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use casemate_core::Secret;
use zeroize::Zeroizing;

use super::local::{malformed, no_randomness, refused};
use super::wrap::{KeyWrapper, Recipient, WrapError, WrapKind};
use super::{Error, bech32, random_key};

/// What a secret key begins with.
pub const SECRET_PREFIX: &str = "AGE-SECRET-KEY-1";
const INTRO: &str = "age-encryption.org/v1\n";
/// Most recipients of one age file.
const STANZAS_MAX: usize = 20;
/// The nonce of the only chunk: number 0, last (STREAM with an 11-byte counter).
const ONLY_CHUNK: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// An X25519 recipient, `age1…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgeRecipient([u8; 32]);

/// An X25519 identity, `AGE-SECRET-KEY-1…`.
pub struct AgeIdentity {
    secret: Secret<[u8; 32]>,
    public: AgeRecipient,
}

impl AgeRecipient {
    /// The recipient that `text` names.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(bech32::decode("age", text)?.as_slice().try_into().ok()?))
    }
}

impl std::fmt::Display for AgeRecipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&bech32::encode("age", &self.0))
    }
}

impl AgeIdentity {
    /// A new identity.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate() -> Result<Self, Error> {
        Self::of(random_key()?).ok_or(Error::Random)
    }

    /// The identity that `text` is.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = bech32::decode("age-secret-key-", text)?;
        Self::of(Secret::new(bytes.as_slice().try_into().ok()?))
    }

    /// Its recipient.
    pub fn recipient(&self) -> &AgeRecipient {
        &self.public
    }

    /// The line of a key file.
    pub fn to_text(&self) -> Secret<String> {
        Secret::new(Zeroizing::new(bech32::encode("age-secret-key-", self.secret.expose())).to_ascii_uppercase())
    }

    fn of(secret: Secret<[u8; 32]>) -> Option<Self> {
        let key = PrivateKey::from_private_key(&X25519, secret.expose()).ok()?;
        let public = key.compute_public_key().ok()?.as_ref().try_into().ok()?;
        Some(Self { secret, public: AgeRecipient(public) })
    }

    /// The file key in one stanza.
    fn file_key(&self, share: &[u8; 32], body: &[u8]) -> Option<Secret<[u8; 16]>> {
        let key = PrivateKey::from_private_key(&X25519, self.secret.expose()).ok()?;
        let kek = stanza_key(&key, share, share, &self.public.0)?;
        let mut body = Zeroizing::new(body.to_vec());
        let plain = chacha(&kek)?.open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body).ok()?;
        Some(Secret::new((&*plain).try_into().ok()?))
    }
}

impl Recipient for AgeRecipient {
    fn kind(&self) -> WrapKind {
        WrapKind::Age
    }

    fn kek_id(&self) -> String {
        format!("age:{self}")
    }

    fn wrap(&self, key: &Secret<[u8; 32]>, context: &[u8]) -> Result<Vec<u8>, WrapError> {
        let content = Secret::new([key.expose().as_slice(), context].concat());
        encrypt(&self.0, content.expose()).ok_or_else(|| no_randomness(&Recipient::kek_id(self)))
    }
}

impl KeyWrapper for AgeIdentity {
    fn kind(&self) -> WrapKind {
        WrapKind::Age
    }

    fn kek_id(&self) -> String {
        format!("age:{}", self.public)
    }

    fn wrap(&self, key: &Secret<[u8; 32]>, context: &[u8]) -> Result<Vec<u8>, WrapError> {
        self.public.wrap(key, context)
    }

    fn unwrap(&self, blob: &[u8], context: &[u8]) -> Result<Secret<[u8; 32]>, WrapError> {
        let kek_id = KeyWrapper::kek_id(self);
        let file =
            AgeFile::parse(blob).ok_or_else(|| malformed(&kek_id, "not an age v1 file with one small content"))?;
        let content = file.decrypt(self).ok_or_else(|| refused(&kek_id, "another identity, or a changed file"))?;
        match content.expose().split_first_chunk::<32>() {
            Some((key, bound)) if bound == context => Ok(Secret::new(*key)),
            _ => Err(refused(&kek_id, "wrapped for another file")),
        }
    }
}

/// An age file in its parts.
struct AgeFile<'a> {
    /// Shares and bodies of the X25519 stanzas.
    stanzas: Vec<([u8; 32], [u8; 32])>,
    /// What the MAC is over.
    header: &'a [u8],
    mac: [u8; 32],
    nonce: [u8; 16],
    payload: &'a [u8],
}

impl<'a> AgeFile<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        // The MAC line is the first that begins so: bodies of stanzas are base64.
        let dashes = bytes.windows(5).position(|window| window == b"\n--- ")? + 1;
        let header = bytes.get(..dashes + 3)?;
        let lines = std::str::from_utf8(bytes.get(..dashes)?).ok()?.strip_prefix(INTRO)?;
        let rest = bytes.get(dashes + 4..)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let mac = decode_32(std::str::from_utf8(rest.get(..end)?).ok()?)?;
        let (nonce, payload) = rest.get(end + 1..)?.split_first_chunk()?;
        let mut stanzas = Vec::new();
        let mut lines = lines.lines().peekable();
        let mut count = 0;
        while let Some(line) = lines.next() {
            count += 1;
            let words: Vec<&str> = line.strip_prefix("-> ")?.split(' ').collect();
            let mut body = String::new();
            // A body ends with its first line that is not full.
            loop {
                let part = lines.next()?;
                body.push_str(part);
                if part.len() < 64 {
                    break;
                }
            }
            if count > STANZAS_MAX {
                return None;
            }
            if let ["X25519", share] = words.as_slice() {
                stanzas.push((decode_32(share)?, decode_32(&body)?));
            }
        }
        Some(Self { stanzas, header, mac, nonce: *nonce, payload })
    }

    fn decrypt(&self, identity: &AgeIdentity) -> Option<Secret<Vec<u8>>> {
        let file_key = self.stanzas.iter().find_map(|(share, body)| identity.file_key(share, body))?;
        let mac_key = hmac::Key::new(hmac::HMAC_SHA256, derive(file_key.expose(), &[], b"header")?.expose());
        hmac::verify(&mac_key, self.header, &self.mac).ok()?;
        let payload_key = derive(file_key.expose(), &self.nonce, b"payload")?;
        let mut bytes = Zeroizing::new(self.payload.to_vec());
        let nonce = Nonce::assume_unique_for_key(ONLY_CHUNK);
        let plain = chacha(&payload_key)?.open_in_place(nonce, Aad::empty(), &mut bytes).ok()?;
        Some(Secret::new(plain.to_vec()))
    }
}

/// An age file of `content`, less than one chunk, for the recipient with this public key.
fn encrypt(public: &[u8; 32], content: &[u8]) -> Option<Vec<u8>> {
    let (mut file_key, mut nonce) = (Zeroizing::new([0; 16]), [0; 16]);
    aws_lc_rs::rand::fill(&mut *file_key).ok()?;
    aws_lc_rs::rand::fill(&mut nonce).ok()?;
    let ephemeral = random_key().ok()?;
    let ephemeral = PrivateKey::from_private_key(&X25519, ephemeral.expose()).ok()?;
    let share: [u8; 32] = ephemeral.compute_public_key().ok()?.as_ref().try_into().ok()?;
    let kek = stanza_key(&ephemeral, public, &share, public)?;
    let mut body = file_key.to_vec();
    let zero = Nonce::assume_unique_for_key([0; 12]);
    chacha(&kek)?.seal_in_place_append_tag(zero, Aad::empty(), &mut body).ok()?;

    let text = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
    let header = format!("{INTRO}-> X25519 {}\n{}\n---", text(&share), text(&body));
    let mac_key = hmac::Key::new(hmac::HMAC_SHA256, derive(&*file_key, &[], b"header")?.expose());
    let mac = hmac::sign(&mac_key, header.as_bytes());
    let payload_key = derive(&*file_key, &nonce, b"payload")?;
    let mut payload = content.to_vec();
    let only = Nonce::assume_unique_for_key(ONLY_CHUNK);
    chacha(&payload_key)?.seal_in_place_append_tag(only, Aad::empty(), &mut payload).ok()?;
    Some([header.as_bytes(), b" ", text(mac.as_ref()).as_bytes(), b"\n", &nonce, &payload].concat())
}

/// The key of a stanza: `mine` with `theirs`, bound to the share and the recipient.
fn stanza_key(mine: &PrivateKey, theirs: &[u8; 32], share: &[u8; 32], public: &[u8; 32]) -> Option<Secret<[u8; 32]>> {
    let salt = [share.as_slice(), public].concat();
    agree(mine, UnparsedPublicKey::new(&X25519, theirs), (), |secret| {
        derive(secret, &salt, b"age-encryption.org/v1/X25519").ok_or(())
    })
    .ok()
}

fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Option<Secret<[u8; 32]>> {
    let mut key = [0; 32];
    let info = [info];
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    prk.expand(&info, hkdf::HKDF_SHA256).ok()?.fill(&mut key).ok()?;
    Some(Secret::new(key))
}

fn chacha(key: &Secret<[u8; 32]>) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key.expose()).ok()?))
}

fn decode_32(text: &str) -> Option<[u8; 32]> {
    STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_identity_opens_what_was_wrapped_for_it_alone_and_in_its_context() {
        let (identity, other) = (AgeIdentity::generate().unwrap(), AgeIdentity::generate().unwrap());
        let key = random_key().unwrap();
        let blob = identity.recipient().wrap(&key, &[1; 32]).unwrap();
        assert_eq!(identity.unwrap(&blob, &[1; 32]).unwrap().expose(), key.expose());
        assert!(matches!(other.unwrap(&blob, &[1; 32]), Err(WrapError::Refused { .. })));
        assert!(matches!(identity.unwrap(&blob, &[2; 32]), Err(WrapError::Refused { .. })));
        for at in 0..blob.len() {
            let mut flipped = blob.clone();
            flipped[at] ^= 1;
            assert!(identity.unwrap(&flipped, &[1; 32]).is_err(), "byte {at}");
            assert!(identity.unwrap(&blob[..at], &[1; 32]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let identity = AgeIdentity::generate().unwrap();
        let text = identity.to_text();
        assert!(text.expose().starts_with(SECRET_PREFIX));
        assert_eq!(AgeIdentity::parse(text.expose()).unwrap().recipient(), identity.recipient());
        assert_eq!(AgeRecipient::parse(&identity.recipient().to_string()).as_ref(), Some(identity.recipient()));
        assert!(AgeRecipient::parse("age1notakey").is_none());
    }

    fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let mut command = Command::new(program);
        let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("run `cargo xtask test`, which installs age");
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}");
        output.stdout
    }

    #[test]
    #[ignore = "needs age: cargo xtask test"]
    fn age_reads_what_is_written_here_and_what_age_writes_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.txt");
        let path = path.to_str().unwrap();
        for own in [true, false] {
            // Keys of either side.
            let identity = match own {
                true => {
                    let identity = AgeIdentity::generate().unwrap();
                    std::fs::write(path, identity.to_text().expose()).unwrap();
                    identity
                }
                false => {
                    std::fs::remove_file(path).unwrap();
                    run("age-keygen", &["-o", path], b"");
                    let text = std::fs::read_to_string(path).unwrap();
                    AgeIdentity::parse(text.lines().find(|line| line.starts_with(SECRET_PREFIX)).unwrap()).unwrap()
                }
            };
            let recipient = identity.recipient().to_string();
            assert_eq!(run("age-keygen", &["-y", path], b"").trim_ascii(), recipient.as_bytes());
            let (key, context) = (random_key().unwrap(), [5; 32]);
            let content = [key.expose().as_slice(), &context].concat();
            let ours = identity.recipient().wrap(&key, &context).unwrap();
            assert_eq!(run("age", &["--decrypt", "-i", path], &ours), content);
            let other = AgeIdentity::generate().unwrap().recipient().to_string();
            for recipients in [vec!["-r", recipient.as_str()], vec!["-r", other.as_str(), "-r", recipient.as_str()]] {
                let theirs = run("age", &recipients, &content);
                assert_eq!(identity.unwrap(&theirs, &context).unwrap().expose(), key.expose());
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, cut in 0usize..400) {
            let identity = AgeIdentity::of(Secret::new([7; 32])).unwrap();
            let _ = identity.unwrap(&bytes, &[]);
            let mut file = identity.recipient().wrap(&Secret::new([1; 32]), &[]).unwrap();
            file.splice(cut.min(file.len())..cut.min(file.len()), bytes);
            let _ = identity.unwrap(&file, &[]);
        }
    }
}
