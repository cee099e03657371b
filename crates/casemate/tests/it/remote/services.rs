//! Real servers of other people: Debian's image registry with the `oras` client, and moto, which checks AWS signatures.
//!
//! They are installed by `.ci/run` (`docker-registry` from Debian, a Python environment in `target/test-services`). Where
//! they are missing a test says how to install them; with `CASEMATE_REQUIRE_SERVICES` set, as in CI, it fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::service::{Service, free_address, installed, python, python_program, start};
use super::{measured, safetensors, scan};

const SYSTEM: &[u8] = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.";

fn registry_program() -> Option<PathBuf> {
    installed("/usr/bin/docker-registry".into(), "apt-get install docker-registry")
}

fn start_registry(program: &Path, directory: &Path) -> Service {
    let address = free_address();
    let store = directory.join("store");
    let config = directory.join("registry.yml");
    let text = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
        store.display()
    );
    fs::write(&config, text).unwrap();
    start(Command::new(program).arg("serve").arg(&config), address)
}

const PUSH: &str = "
import sys, oras.client
registry, *files = sys.argv[1:]
client = oras.client.OrasClient(hostname=registry, insecure=True)
answer = client.push(target=registry + '/org/model:v1', files=files)
print(answer.headers['Docker-Content-Digest'])
";

#[test]
fn artifacts_of_a_real_registry_are_read_by_ranges_and_compared_with_their_digests() {
    let (Some(registry), Some(client)) = (registry_program(), python_program("python")) else { return };
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("m.safetensors"), safetensors(30_000_000)).unwrap();
    fs::create_dir(directory.path().join("more")).unwrap();
    fs::write(directory.path().join("more/evil.pkl"), SYSTEM).unwrap();
    let service = start_registry(&registry, directory.path());
    let address = format!("oci://{}/org/model", service.address);

    let digest = python(&client, directory.path(), PUSH, &[&service.address, "m.safetensors"]);
    for reference in [":v1".to_owned(), format!("@{digest}")] {
        let run = scan(&[&format!("{address}{reference}")], &[]);
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        let report = run.json();
        let artifacts = report["artifacts"].as_array().unwrap();
        assert_eq!(artifacts.len(), 2, "configuration and layer: {artifacts:?}");
        let model = artifacts.iter().find(|one| one["format"] == "safetensors").unwrap();
        assert_eq!(model["path"], format!("{address}/m.safetensors"));
        assert!(measured(&report, "bytes_fetched") < 300_000.0);
    }
    let hashed = scan(&["--hash", &format!("{address}:v1")], &[]);
    assert_eq!(hashed.code, 0, "{}", hashed.stdout);

    // A directory is pushed as a tar, compressed: what is in it is found.
    python(&client, directory.path(), PUSH, &[&service.address, "more"]);
    let run = scan(&[&format!("{address}:v1")], &[]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    assert!(run.stdout.contains("evil.pkl"), "{}", run.stdout);

    // What the registry stores is changed behind its back.
    let blob = super::super::files(&directory.path().join("store"))
        .into_iter()
        .find(|path| fs::metadata(path).unwrap().len() > 30_000_000)
        .unwrap();
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, bytes).unwrap();
    let changed = scan(&["--hash", &format!("{address}@{digest}")], &[]);
    assert_eq!(changed.code, 4, "{}", changed.stdout);
    assert!(changed.stdout.contains("the content has the SHA-256"), "{}", changed.stdout);

    scan(&[&format!("{address}:v2")], &[]).is_one_clear_error(3, &["404", "tag"]);
}

/// A user with a key, a bucket with files; from the seventh request on moto asks for signatures.
const FILL: &str = "
import boto3, json, sys
names = dict(endpoint_url='http://' + sys.argv[1], region_name='eu-central-1',
             aws_access_key_id='setup', aws_secret_access_key='setup')
s3, iam = boto3.client('s3', **names), boto3.client('iam', **names)
iam.create_user(UserName='reader')
allowed = {'Effect': 'Allow', 'Action': 's3:*', 'Resource': '*'}
iam.put_user_policy(UserName='reader', PolicyName='p',
                    PolicyDocument=json.dumps({'Version': '2012-10-17', 'Statement': [allowed]}))
s3.create_bucket(Bucket='models', CreateBucketConfiguration={'LocationConstraint': 'eu-central-1'})
s3.put_object(Bucket='models', Key='m/a b+c(1)/x~\u{e4}.safetensors', Body=open('m.safetensors', 'rb'))
s3.put_object(Bucket='models', Key='m2/not-under-m.pkl', Body=open('evil.pkl', 'rb'))
key = iam.create_access_key(UserName='reader')['AccessKey']
print(key['AccessKeyId'], key['SecretAccessKey'])
";

#[test]
fn objects_of_s3_are_listed_and_read_under_signatures_that_a_real_verifier_accepts() {
    let (Some(server), Some(client)) = (python_program("moto_server"), python_program("python")) else { return };
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("m.safetensors"), safetensors(20_000_000)).unwrap();
    fs::write(directory.path().join("evil.pkl"), SYSTEM).unwrap();
    let address = free_address();
    let port = address.rsplit(':').next().unwrap().to_owned();
    let mut command = Command::new(server);
    let service = start(command.args(["-p", &port]).env("INITIAL_NO_AUTH_ACTION_COUNT", "6"), address);
    let keys = python(&client, directory.path(), FILL, &[&service.address]);
    let (access, secret) = keys.split_once(' ').unwrap();
    let endpoint = format!("http://{}", service.address);
    let environment = |secret| {
        [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", access),
            ("AWS_SECRET_ACCESS_KEY", secret),
        ]
    };
    let run = scan(&["s3://models/m"], &environment(secret));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let report = run.json();
    assert_eq!(report["artifacts"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["artifacts"][0]["path"], "s3://models/m/a b+c(1)/x~\u{e4}.safetensors");
    assert!(measured(&report, "bytes_fetched") < 300_000.0);
    assert_eq!(scan(&["s3://models"], &environment(secret)).code, 1, "the whole bucket");
    assert_eq!(scan(&["s3://models/m2/not-under-m.pkl"], &environment(secret)).code, 1, "one object");

    let refused = scan(&["s3://models/m"], &environment("another"));
    refused.is_one_clear_error(3, &["403", "AWS_SECRET_ACCESS_KEY"]);
    for run in [run, refused] {
        assert!(!run.stdout.contains(secret) && !run.stderr.contains(secret));
    }
    scan(&["s3://models/nothing-here"], &environment(secret)).is_one_clear_error(3, &["no file under this name"]);
}
