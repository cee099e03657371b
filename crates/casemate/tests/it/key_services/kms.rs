//! AWS KMS as moto plays it: signatures of requests are checked, policies apply, keys are real.
//!
//! moto 5.2.5 leaves `MessageType` `DIGEST` out and hashes once more, so the program below adds that; keys whose alias holds
//! `liar` are left as they are, and sign what nobody asked for.

use std::path::Path;
use std::process::Command;

use super::super::remote::service::{Service, free_address, python, python_program, start};
use super::{model, run, sign};

/// moto, signing hashes where it is asked to.
pub const SERVER: &str = "
import sys
from cryptography.hazmat.primitives.asymmetric import ec, utils
from moto.kms import responses, utils as keys
from moto.server import main
plain, digest = responses.KmsResponse.sign, []
def sign(self):
    digest[:] = [self._get_param('MessageType') == 'DIGEST' and 'liar' not in self._get_param('KeyId')]
    return plain(self)
def sign_hash(self, message, signing_algorithm):
    hash = self._ECDSAPrivateKey__hash_algorithm(signing_algorithm)
    return self.private_key.sign(message, ec.ECDSA(utils.Prehashed(hash) if digest[0] else hash))
responses.KmsResponse.sign, keys.ECDSAPrivateKey.sign = sign, sign_hash
main(['-p', sys.argv[1]])
";

/// Requests that [`FILL`] makes before moto asks for signatures.
const FILLING: &str = "18";

/// Keys under aliases, an identity that may do everything with them, and one that may only look.
const FILL: &str = "
import boto3, json, sys
names = dict(endpoint_url='http://' + sys.argv[1], region_name='eu-central-1',
             aws_access_key_id='setup', aws_secret_access_key='setup')
kms, iam = boto3.client('kms', **names), boto3.client('iam', **names)
for user, action in [('signer', 'kms:*'), ('reader', 'kms:GetPublicKey')]:
    iam.create_user(UserName=user)
    allowed = {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': action, 'Resource': '*'}]}
    iam.put_user_policy(UserName=user, PolicyName='p', PolicyDocument=json.dumps(allowed))
for name, spec in [('p256', 'ECC_NIST_P256'), ('p384', 'ECC_NIST_P384'), ('p521', 'ECC_NIST_P521'),
                   ('liar', 'ECC_NIST_P256'), ('rsa', 'RSA_2048')]:
    key = kms.create_key(KeySpec=spec, KeyUsage='SIGN_VERIFY')['KeyMetadata']
    kms.create_alias(AliasName='alias/' + name, TargetKeyId=key['KeyId'])
    if name == 'p384': arn = key['Arn']
kek = kms.create_key()['KeyMetadata']['KeyId']
other = kms.create_key()['KeyMetadata']['KeyId']
keys = [iam.create_access_key(UserName=user)['AccessKey'] for user in ('signer', 'reader')]
print(*[key[part] for key in keys for part in ('AccessKeyId', 'SecretAccessKey')], arn, kek, other)
";

/// moto with its keys, and what [`FILL`] printed.
pub struct Kms {
    _service: Service,
    pub endpoint: String,
    pub printed: Vec<String>,
}

impl Kms {
    /// Starts it, where it is installed.
    pub fn start(directory: &Path) -> Option<Self> {
        let client = python_program("python")?;
        let address = free_address();
        let port = address.rsplit(':').next().unwrap().to_owned();
        let mut command = Command::new(&client);
        let service = start(command.args(["-c", SERVER, &port]).env("INITIAL_NO_AUTH_ACTION_COUNT", FILLING), address);
        let printed = python(&client, directory, FILL, &[&service.address]);
        let printed: Vec<String> = printed.split(' ').map(str::to_owned).collect();
        Some(Self { endpoint: format!("http://{}", service.address), printed, _service: service })
    }

    /// The environment of one of the two identities.
    pub fn environment(&self, identity: usize) -> [(&str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL_KMS", &self.endpoint),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", &self.printed[2 * identity]),
            ("AWS_SECRET_ACCESS_KEY", &self.printed[2 * identity + 1]),
        ]
    }
}

#[test]
fn keys_of_kms_sign_on_every_curve_and_what_they_may_not_do_is_said() {
    let directory = model();
    let directory = directory.path();
    let Some(kms) = Kms::start(directory) else { return };
    let (signer, reader) = (kms.environment(0), kms.environment(1));
    let arn = format!("awskms:///{}", kms.printed[4]);
    for (key, curve) in [("awskms:///alias/p256", "p256"), (&arn, "p384"), ("awskms:///alias/p521", "p521")] {
        let signed = sign(directory, &signer, key);
        assert_eq!(signed.code, 0, "{curve}: {}", signed.stderr);
        assert!(signed.stdout.contains(&format!("by ecdsa-{curve}:")), "{}", signed.stdout);
        let verify = |key: &str| run(directory, &reader, &["verify", "model", "--key", key]);
        assert_eq!(verify(key).code, 0, "{curve}");
        verify("awskms:///alias/liar").is_one_clear_error(4, &["another key"]);
    }
    let _ = std::fs::remove_file(directory.join("model.sig"));
    let mut wrong = signer;
    wrong[3].1 = "another";
    for (environment, key, code, mentions) in [
        (signer, "awskms:///alias/liar", 4, ["not one of key ecdsa-p256:", "nothing was written"]),
        (signer, "awskms:///alias/nobody", 3, ["NotFoundException", "AWS_REGION"]),
        (signer, "awskms:///11111111-2222-3333-4444-555555555555", 3, ["NotFoundException", "AWS_REGION"]),
        (signer, "awskms:///alias/rsa", 2, ["RSA_2048", "ECC_NIST_P256"]),
        (reader, "awskms:///alias/p256", 3, ["AWS KMS answered", "`kms:Sign`"]),
        (wrong, "awskms:///alias/p256", 3, ["AWS KMS answered", "AWS_SECRET_ACCESS_KEY"]),
    ] {
        let refused = sign(directory, &environment, key);
        refused.is_one_clear_error(code, &mentions);
        assert!(!refused.stderr.contains(signer[3].1), "{}", refused.stderr);
    }
    assert!(!directory.join("model.sig").exists());
    let (kek, other) = (format!("awskms:///{}", kms.printed[5]), format!("awskms:///{}", kms.printed[6]));
    super::opens_with_its_key_in_the_service_alone(directory, &signer, &kek, &other);
}
