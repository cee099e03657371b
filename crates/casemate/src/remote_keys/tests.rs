//! Data keys wrapped by services: by moto's KMS, and by the double of Vault that the end-to-end tests use too.

#[allow(dead_code, unreachable_pub, reason = "shared with the end-to-end tests, which use more of it")]
#[path = "../../tests/it/remote/server.rs"]
mod server;

#[allow(dead_code, unreachable_pub, reason = "as above")]
#[path = "../../tests/it/remote/service.rs"]
mod service;

#[allow(dead_code, unreachable_pub, reason = "as above")]
#[path = "../../tests/it/key_services/vault.rs"]
mod vault_double;

use std::process::Command;

use server::Server;
use vault_double::{Manner, TOKEN, WRAPPER};

use super::*;

const CONTEXT: &[u8] = b"hash of a header";

fn key() -> Secret<[u8; 32]> {
    Secret::new(*b"thirty-two bytes of a data key..")
}

fn wrapper_with(address: &str, settings: &[(&str, &str)]) -> Result<Box<dyn KeyWrapper>, Failure> {
    let set = |name: &str| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    wrapper_in(address, &set)
}

fn of_vault(server: &Server, token: &str, name: &str) -> Box<dyn KeyWrapper> {
    let settings = [("VAULT_ADDR", server.url.as_str()), ("VAULT_TOKEN", token)];
    wrapper_with(&format!("hashivault://{name}"), &settings).unwrap()
}

/// Why a key did not come back; the message shows nothing of it.
fn reason(result: Result<Secret<[u8; 32]>, WrapError>) -> WrapError {
    let error = result.unwrap_err();
    assert!(!error.to_string().contains("thirty-two"), "{error}");
    error
}

/// What holds of every service: the key comes back under its context and its key, and nothing else opens it.
fn wraps(right: &dyn KeyWrapper, other: &dyn KeyWrapper, flipped_at: usize) {
    let blob = right.wrap(&key(), CONTEXT).unwrap();
    assert_eq!(right.unwrap(&blob, CONTEXT).unwrap().expose(), key().expose());
    assert_ne!(right.wrap(&key(), CONTEXT).unwrap(), blob, "fresh randomness");
    assert!(!blob.windows(32).any(|window| window == key().expose()));
    assert!(matches!(reason(right.unwrap(&blob, b"another header")), WrapError::Refused { .. }));
    assert!(matches!(reason(right.unwrap(&blob, b"")), WrapError::Refused { .. }));
    assert!(matches!(reason(other.unwrap(&blob, CONTEXT)), WrapError::Refused { .. }));
    let mut flipped = blob.clone();
    flipped[flipped_at] = if flipped[flipped_at] == b'A' { b'B' } else { b'A' };
    assert!(matches!(reason(right.unwrap(&flipped, CONTEXT)), WrapError::Refused { .. }));
    for cut in [0, 1, blob.len() / 2] {
        let error = reason(right.unwrap(&blob[..cut], CONTEXT));
        assert!(matches!(error, WrapError::Refused { .. } | WrapError::Malformed { .. }), "{cut}: {error}");
    }
    assert!(matches!(reason(right.unwrap(&vec![0; BLOB_BYTES_MAX + 1], CONTEXT)), WrapError::Malformed { .. }));
}

#[test]
fn vault_wraps_a_data_key_for_one_context() {
    let server = vault_double::start(Manner::Honest);
    let (kek, other) = (of_vault(&server, TOKEN, "kek"), of_vault(&server, TOKEN, "other-kek"));
    assert_eq!((kek.kind(), kek.kek_id()), (WrapKind::VaultTransit, "vault-transit:hashivault://kek".into()));
    wraps(&*kek, &*other, 40);
    // A token that may wrap and not look is enough.
    let least = of_vault(&server, WRAPPER, "kek");
    let blob = least.wrap(&key(), CONTEXT).unwrap();
    assert!(blob.starts_with(b"vault:v1:"));
    assert_eq!(least.unwrap(&blob, CONTEXT).unwrap().expose(), key().expose());
}

#[test]
fn vault_is_not_asked_to_make_keys_nor_given_what_it_did_not_write() {
    let server = vault_double::start(Manner::Honest);
    let error = of_vault(&server, TOKEN, "kekk").wrap(&key(), CONTEXT).unwrap_err();
    assert!(matches!(&error, WrapError::Refused { reason, .. } if reason.contains("no key `kekk`")), "{error}");
    for (name, what) in [("p256", "ecdsa-p256"), ("rsa", "rsa-2048")] {
        let error = of_vault(&server, TOKEN, name).wrap(&key(), CONTEXT).unwrap_err();
        assert!(matches!(&error, WrapError::Refused { reason, .. } if reason.contains(what)), "{error}");
    }
    assert!(of_vault(&server, TOKEN, "kek?version=1").wrap(&key(), CONTEXT).is_err());
    let asked = server.asked().len();
    for blob in
        [&b""[..], b"vault:v1:", b"vault:v1:\xff", b"\0\x01\x02", b"{\"ciphertext\":\"\"}", b"vault:v1:AAAA\",\"x\":\""]
    {
        let error = of_vault(&server, TOKEN, "kek").unwrap(blob, CONTEXT).unwrap_err();
        assert!(matches!(error, WrapError::Malformed { .. }), "{error}");
    }
    assert_eq!(server.asked().len(), asked, "nothing was sent");
    assert!(server.asked().iter().all(|asked| asked.path != "/v1/transit/encrypt/kekk"));
}

#[test]
fn what_vault_gives_back_must_be_a_data_key_and_silence_is_no_refusal() {
    let short = vault_double::start(Manner::Short);
    let kek = of_vault(&short, TOKEN, "kek");
    let blob = kek.wrap(&key(), CONTEXT).unwrap();
    assert!(matches!(reason(kek.unwrap(&blob, CONTEXT)), WrapError::Malformed { .. }));
    let sealed = vault_double::start(Manner::Sealed);
    assert!(matches!(reason(of_vault(&sealed, TOKEN, "kek").unwrap(&blob, CONTEXT)), WrapError::Unreachable { .. }));
    let nobody = wrapper_with("hashivault://kek", &[("VAULT_ADDR", "http://127.0.0.1:1"), ("VAULT_TOKEN", TOKEN)]);
    assert!(matches!(reason(nobody.unwrap().unwrap(&blob, CONTEXT)), WrapError::Unreachable { .. }));
    assert!(wrapper_with("gcpkms://x", &[]).is_err_and(|failure| failure.message.contains("no key service")));
}

/// Two keys that wrap, after which moto asks for nothing more.
const FILL: &str = "
import boto3, sys
kms = boto3.client('kms', endpoint_url='http://' + sys.argv[1], region_name='eu-central-1',
                   aws_access_key_id='setup', aws_secret_access_key='setup')
print(*[kms.create_key()['KeyMetadata']['KeyId'] for _ in range(2)])
";

#[test]
fn kms_wraps_a_data_key_for_one_context() {
    let (Some(moto), Some(client)) = (service::python_program("moto_server"), service::python_program("python")) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let address = service::free_address();
    let port = address.rsplit(':').next().unwrap().to_owned();
    let service = service::start(Command::new(moto).args(["-p", &port]), address);
    let keys = service::python(&client, directory.path(), FILL, &[&service.address]);
    let (one, two) = keys.split_once(' ').unwrap();
    let endpoint = format!("http://{}", service.address);
    let settings = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "somebody"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let of_kms = |key: &str| wrapper_with(&format!("awskms:///{key}"), &settings).unwrap();
    let kek = of_kms(one);
    assert_eq!((kek.kind(), kek.kek_id()), (WrapKind::AwsKms, format!("aws-kms:awskms:///{one}")));
    wraps(&*kek, &*of_kms(two), 80);
    let nobody = of_kms("11111111-2222-3333-4444-555555555555").wrap(&key(), CONTEXT).unwrap_err();
    assert!(matches!(&nobody, WrapError::Refused { reason, .. } if reason.contains("NotFoundException")), "{nobody}");
}
