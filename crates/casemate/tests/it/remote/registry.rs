//! Image registries and layouts: tokens, digests, names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use base64::Engine as _;
use casemate_provenance::sha256;

use super::server::{Asked, Content, Reply, Server, ranged};
use super::{quiet_command, safetensors, scan};

const SYSTEM: &[u8] = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.";

fn descriptor(bytes: &[u8], title: Option<&str>) -> serde_json::Value {
    let mut descriptor = serde_json::json!({"digest": format!("sha256:{}", sha256(bytes)), "size": bytes.len()});
    if let Some(title) = title {
        descriptor["annotations"] = serde_json::json!({"org.opencontainers.image.title": title});
    }
    descriptor
}

fn manifest(layers: &[(&[u8], Option<&str>)]) -> Vec<u8> {
    let layers: Vec<_> = layers.iter().map(|(bytes, title)| descriptor(bytes, *title)).collect();
    serde_json::json!({"schemaVersion": 2, "config": descriptor(b"{}", None), "layers": layers})
        .to_string()
        .into_bytes()
}

/// A registry that asks for a token, which `password` is needed for if there is one.
fn registry(objects: BTreeMap<String, Vec<u8>>, password: Option<&'static str>) -> Server {
    let objects: BTreeMap<_, _> = objects.into_iter().map(|(path, bytes)| (path, Arc::new(bytes))).collect();
    Server::start(move |asked: &Asked| {
        let authorization = asked.headers.get("authorization").map(String::as_str);
        if asked.path == "/token" {
            assert!(asked.query.contains("scope=repository%3Aorg%2Fm%3Apull"), "{}", asked.query);
            let encoded = password.map(|text| base64::engine::general_purpose::STANDARD.encode(text));
            return match encoded.is_none_or(|encoded| authorization == Some(&format!("Basic {encoded}"))) {
                true => Reply::new(200, &[], r#"{"token":"t0ken"}"#),
                false => Reply::new(401, &[], ""),
            };
        }
        if authorization != Some("Bearer t0ken") {
            let host = &asked.headers["host"];
            let challenge =
                format!(r#"Bearer realm="http://{host}/token",service="reg",scope="repository:org/m:pull""#);
            return Reply::new(401, &[("www-authenticate", &challenge)], "");
        }
        match objects.get(&asked.path) {
            Some(bytes) => ranged(asked, &Content::Bytes(Arc::clone(bytes)), "\"x\""),
            None => Reply::new(404, &[], ""),
        }
    })
}

fn objects(manifest: &[u8], blobs: &[&[u8]]) -> BTreeMap<String, Vec<u8>> {
    let blob = |bytes: &&[u8]| (format!("/v2/org/m/blobs/sha256:{}", sha256(bytes)), bytes.to_vec());
    let mut objects: BTreeMap<_, _> = blobs.iter().map(blob).collect();
    objects.insert("/v2/org/m/manifests/v1".into(), manifest.to_vec());
    objects.insert(format!("/v2/org/m/manifests/sha256:{}", sha256(manifest)), manifest.to_vec());
    objects
}

fn address(server: &Server, reference: &str) -> String {
    format!("oci://{}/org/m{reference}", server.url.trim_start_matches("http://"))
}

#[test]
fn a_token_is_asked_for_with_the_login_there_is() {
    let model = safetensors(200_000);
    let manifest = manifest(&[(&model, Some("../../etc/model.safetensors")), (SYSTEM, Some("x\u{1b}[31m.pkl"))]);
    let all = objects(&manifest, &[&model, SYSTEM, b"{}"]);
    let open = registry(all.clone(), None);
    let run = scan(&[&address(&open, ":v1")], &[]);
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.json()["summary"]["malicious"], 1);

    let closed = registry(all, Some("ada:hunter2"));
    scan(&[&address(&closed, ":v1")], &[]).is_one_clear_error(3, &["401"]);
    let directory = tempfile::tempdir().unwrap();
    let auth = base64::engine::general_purpose::STANDARD.encode("ada:hunter2");
    let host = closed.url.trim_start_matches("http://");
    let config = serde_json::json!({"auths": {host: {"auth": auth}}}).to_string();
    fs::write(directory.path().join("config.json"), config).unwrap();
    let run = scan(&[&address(&closed, ":v1")], &[("DOCKER_CONFIG", directory.path().to_str().unwrap())]);
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    assert!(!run.stdout.contains("hunter2") && !run.stdout.contains("t0ken") && !run.stdout.contains(&auth));
}

#[test]
fn a_token_that_expires_is_asked_for_again() {
    let model = safetensors(20_000_000);
    // One blob alone: two that are read at the same time would use up each other's tokens.
    let layers = [descriptor(&model, Some("m.safetensors"))];
    let manifest = serde_json::json!({"schemaVersion": 2, "layers": layers}).to_string().into_bytes();
    let objects: BTreeMap<_, _> =
        objects(&manifest, &[&model]).into_iter().map(|(path, bytes)| (path, Arc::new(bytes))).collect();
    let uses = AtomicUsize::new(0);
    let server = Server::start(move |asked: &Asked| {
        // Each token is good for one request.
        let token = format!("t{}", uses.load(Relaxed));
        if asked.path == "/token" {
            return Reply::new(200, &[], format!(r#"{{"access_token":"{token}"}}"#));
        }
        if asked.headers.get("authorization") != Some(&format!("Bearer {token}")) {
            let challenge = format!(r#"Bearer realm="http://{}/token""#, asked.headers["host"]);
            return Reply::new(401, &[("www-authenticate", &challenge)], "");
        }
        uses.fetch_add(1, Relaxed);
        ranged(asked, &Content::Bytes(Arc::clone(&objects[&asked.path])), "\"x\"")
    });
    let run = scan(&["--hash", &address(&server, ":v1")], &[]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(server.asked().iter().filter(|asked| asked.path == "/token").count() > 10);
}

#[test]
fn what_is_not_what_its_digest_says_is_an_integrity_failure() {
    let model = safetensors(300_000);
    let manifest = manifest(&[(&model, Some("m.safetensors"))]);
    let mut forged = objects(&manifest, &[&model, b"{}"]);
    let by_digest = format!("/v2/org/m/manifests/sha256:{}", sha256(&manifest));
    forged.insert(by_digest, self::manifest(&[(SYSTEM, None)]));
    let server = registry(forged, None);
    scan(&[&address(&server, &format!("@sha256:{}", sha256(&manifest)))], &[])
        .is_one_clear_error(4, &["not the one it is named by"]);

    let mut swapped = objects(&manifest, &[&model, b"{}"]);
    let mut other = model.clone();
    *other.last_mut().unwrap() = 1;
    swapped.insert(format!("/v2/org/m/blobs/sha256:{}", sha256(&model)), other);
    let server = registry(swapped, None);
    let run = scan(&["--hash", &address(&server, ":v1")], &[]);
    assert_eq!(run.code, 4, "{}", run.stdout);
    assert_eq!(run.json()["summary"]["unscannable"], 1);

    let mut longer = objects(&manifest, &[&model, b"{}"]);
    longer.insert(format!("/v2/org/m/blobs/sha256:{}", sha256(&model)), safetensors(300_001));
    let server = registry(longer, None);
    let run = scan(&[&address(&server, ":v1")], &[]);
    assert_eq!(run.code, 3, "{}", run.stdout);
    assert!(run.stdout.contains("in the listing"), "{}", run.stdout);
}

fn layout(directory: &Path, blobs: &[&[u8]], manifest: &[u8]) {
    let place = directory.join("layout/blobs/sha256");
    fs::create_dir_all(&place).unwrap();
    fs::write(directory.join("layout/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [descriptor(manifest, None)]});
    fs::write(directory.join("layout/index.json"), index.to_string()).unwrap();
    for bytes in blobs.iter().chain([&manifest]) {
        fs::write(place.join(sha256(bytes).to_string()), bytes).unwrap();
    }
}

#[test]
fn a_layout_on_disk_is_scanned_under_its_titles_and_compared_with_its_digests() {
    let directory = tempfile::tempdir().unwrap();
    let model = safetensors(1000);
    let manifest = manifest(&[(&model, Some("m.safetensors"))]);
    layout(directory.path(), &[&model, b"{}"], &manifest);
    let run = |arguments: &[&str]| -> super::Run {
        quiet_command(directory.path()).arg("scan").args(arguments).args(["--format", "json"]).output().unwrap().into()
    };
    let clean = run(&["oci:layout"]);
    assert_eq!(clean.code, 0, "{}{}", clean.stdout, clean.stderr);
    let paths: Vec<_> = clean.json()["artifacts"].as_array().unwrap().iter().map(|one| one["path"].clone()).collect();
    assert!(paths.contains(&"oci:layout/m.safetensors".into()), "{paths:?}");
    assert_eq!(paths.len(), 3, "manifest, configuration, layer");

    let blobs = directory.path().join("layout/blobs/sha256");
    // Named by nobody, and looked at all the same.
    fs::write(blobs.join(sha256(SYSTEM).to_string()), SYSTEM).unwrap();
    assert_eq!(run(&["oci:layout"]).code, 1);
    fs::remove_file(blobs.join(sha256(SYSTEM).to_string())).unwrap();
    fs::write(blobs.join(sha256(&model).to_string()), safetensors(1001)).unwrap();
    let changed = run(&["oci:layout"]);
    assert_eq!(changed.code, 4, "{}", changed.stdout);
    fs::remove_file(blobs.join(sha256(&model).to_string())).unwrap();
    let missing = run(&["oci:layout"]);
    assert_eq!(missing.code, 3, "{}", missing.stdout);
    assert!(missing.stdout.contains("not there"), "{}", missing.stdout);
    fs::write(blobs.join(sha256(&manifest).to_string()), b"{\"schemaVersion\":2}").unwrap();
    run(&["oci:layout"]).is_one_clear_error(4, &["not what its digest says"]);
    run(&["oci:nowhere"]).is_one_clear_error(3, &["oci-layout"]);
}
