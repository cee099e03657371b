//! `casemate inventory`: strays are found wherever they lie, and a sweep claims no more than it looked at.

use std::path::Path;

use serde_json::Value;

use super::{casemate, example, scan};

/// A project that declares one model, has been checked, and says that nothing is served and that there is no other store.
fn project() -> tempfile::TempDir {
    let digits = example("digits");
    let config = digits.path().join("casemate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n[inventory]\nroots = [\".\"]\n")).unwrap();
    assert_eq!(casemate(digits.path(), &["check", "-q"]).code, 0);
    digits
}

fn sweep(directory: &Path, arguments: &[&str]) -> (i32, Value) {
    let run = casemate(directory, &[&["inventory", "--format", "json"], arguments].concat());
    (run.code, serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}{}", run.stdout, run.stderr)))
}

fn status<'a>(report: &'a Value, path: &str) -> &'a str {
    let model = report["artifacts"].as_array().unwrap().iter().find(|model| model["path"] == path);
    model.unwrap_or_else(|| panic!("{path} in {report:#}"))["registration"]["status"].as_str().unwrap()
}

/// State of MON-10 after assessing the ledger as it is.
fn control(directory: &Path) -> (String, String) {
    let report = casemate(directory, &["assess", "--format", "json"]).json();
    let control =
        report["controls"].as_array().unwrap().iter().find(|control| control["id"] == "MON-10").unwrap().clone();
    (control["state"].as_str().unwrap().into(), control["reason"].as_str().unwrap().into())
}

fn write(directory: &Path, name: &str, bytes: &[u8]) {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A tar archive with one member (POSIX ustar).
fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in members {
        let mut header = vec![0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[148..156].copy_from_slice(b"        ");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(header);
        archive.extend(*content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

#[test]
fn a_sound_project_meets_the_control_and_a_stray_fails_it() {
    let digits = project();
    let (code, report) = sweep(digits.path(), &[]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(status(&report, "model/model.onnx"), "known");
    assert!(report["artifacts"][0]["registration"]["basis"].as_str().unwrap().contains("scan recorded in the ledger"));
    assert_eq!(report["evidence"].as_array().unwrap().len(), 1);
    assert_eq!(control(digits.path()).0, "pass", "{:?}", control(digits.path()));

    write(digits.path(), ".cache/deep/.hidden/blob", scan::HARMLESS);
    let (code, report) = sweep(digits.path(), &[]);
    assert_eq!((code, status(&report, ".cache/deep/.hidden/blob")), (0, "unregistered"));
    assert_eq!(sweep(digits.path(), &["--fail-on-unregistered", "--no-record"]).0, 1);
    let (state, reason) = control(digits.path());
    assert_eq!(state, "fail");
    assert!(reason.contains("facts.models_unregistered == 0"), "{reason}");

    // A scan of the stray makes it known to the ledger, and still nobody declared it.
    assert_eq!(casemate(digits.path(), &["scan", ".cache/deep/.hidden/blob"]).code, 0);
    let (code, report) = sweep(digits.path(), &["--fail-on-unregistered"]);
    assert_eq!((code, status(&report, ".cache/deep/.hidden/blob")), (0, "scanned"));
    assert_eq!(control(digits.path()).0, "fail");

    std::fs::remove_dir_all(digits.path().join(".cache")).unwrap();
    assert_eq!(sweep(digits.path(), &[]).0, 0);
    assert_eq!(control(digits.path()).0, "pass");
    assert_eq!(casemate(digits.path(), &["ledger", "verify"]).code, 0);
}

#[test]
fn the_control_is_unknown_for_a_sweep_that_left_out_a_store_and_for_a_system_that_serves() {
    let digits = project();
    let outside = scan::folder(&[("stray.pkl", scan::HARMLESS)]);
    let run = casemate(digits.path(), &["inventory", outside.path().to_str().unwrap()]);
    assert_eq!(run.code, 0);
    assert!(run.stderr.contains("not recorded in the ledger"), "{}", run.stderr);
    assert_eq!(control(digits.path()).0, "unknown", "a look elsewhere says nothing about the project");

    let served = project();
    let config = served.path().join("casemate.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("\nserved = false", "\nserved = true");
    std::fs::write(&config, text).unwrap();
    casemate(served.path(), &["check", "-q"]);
    assert_eq!(sweep(served.path(), &[]).0, 0);
    let (state, reason) = control(served.path());
    assert_eq!(state, "unknown");
    assert!(reason.contains("endpoints_unregistered"), "{reason}");

    // Nobody said where models may be.
    let silent = example("digits");
    casemate(silent.path(), &["check", "-q"]);
    assert_eq!(sweep(silent.path(), &[]).0, 0);
    let (state, reason) = control(silent.path());
    assert!(state == "unknown" && reason.contains("[inventory]"), "{state} {reason}");
}

#[test]
fn models_are_found_in_layers_of_images_and_behind_other_names() {
    let digits = project();
    let known = std::fs::read(digits.path().join("model/model.onnx")).unwrap();
    let layer = tar(&[("app/model.pkl", scan::HARMLESS), ("app/known.onnx", &known), ("app/run.py", b"print(1)\n")]);
    let image = tar(&[("manifest.json", b"[{\"Layers\": [\"a/layer.tar\"]}]"), ("a/layer.tar", &layer)]);
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "image.tar", &image);
    write(outside.path(), "bad.jpg", scan::SYSTEM);
    write(outside.path(), "picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    let (code, report) = sweep(digits.path(), &[outside.path().to_str().unwrap()]);
    assert_eq!(code, 1, "a malicious model is never passed over: {report:#}");
    let models: Vec<_> = report["artifacts"].as_array().unwrap().iter().collect();
    assert_eq!(models.len(), 3);
    let of = |member: &str| models.iter().find(|model| model["member"] == member).unwrap();
    assert_eq!(of("a/layer.tar!app/model.pkl")["registration"]["status"], "unregistered");
    assert_eq!(of("a/layer.tar!app/known.onnx")["registration"]["status"], "known");
    let digest = sha256(scan::HARMLESS);
    assert_eq!(of("a/layer.tar!app/model.pkl")["digest"]["sha256"], digest);
    assert_eq!(models.iter().find(|model| model["member"].is_null()).unwrap()["verdict"], "malicious");
}

/// The digest of bytes, as the tool itself says it of a file.
fn sha256(bytes: &[u8]) -> String {
    let directory = scan::folder(&[("file", bytes)]);
    let report = casemate(directory.path(), &["scan", "file", "--format", "json"]).json();
    report["artifacts"][0]["digest"]["sha256"].as_str().unwrap().to_owned()
}

#[test]
fn altered_and_quarantined_models_are_told_and_copies_grouped() {
    let digits = project();
    let model = std::fs::read(digits.path().join("model/model.onnx")).unwrap();
    write(digits.path(), "cache/one/x.onnx", &model);
    write(
        digits.path(),
        "cache/digits/model.onnx",
        &std::fs::read(digits.path().join("model/model.safetensors")).unwrap()[..],
    );
    let mut other = b"\x80\x02}q\0.".to_vec();
    write(digits.path(), "cache/model/model.onnx", &other);
    let (code, report) = sweep(digits.path(), &["--no-record"]);
    assert_eq!(code, 1);
    assert_eq!(status(&report, "cache/one/x.onnx"), "known");
    assert_eq!(status(&report, "cache/digits/model.onnx"), "known", "another file of the same model");
    assert_eq!(status(&report, "cache/model/model.onnx"), "altered");
    let places: Vec<&Value> =
        report["summary"]["duplicates"].as_array().unwrap().iter().map(|copy| &copy["places"]).collect();
    assert!(places.contains(&&serde_json::json!(["cache/one/x.onnx", "model/model.onnx"])), "{places:?}");

    // The declared model itself changes: what the ledger holds is of other content.
    std::fs::remove_dir_all(digits.path().join("cache")).unwrap();
    write(digits.path(), "model/model.onnx", &{
        other.insert(2, b'0');
        other.insert(2, b'N');
        other
    });
    let (code, report) = sweep(digits.path(), &[]);
    assert_eq!((code, status(&report, "model/model.onnx")), (1, "altered"));
    assert_eq!(control(digits.path()).0, "fail");

    let held = project();
    let config = held.path().join("casemate.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("stage = \"staged\"", "stage = \"quarantined\"");
    std::fs::write(&config, text).unwrap();
    let (code, report) = sweep(held.path(), &[]);
    assert_eq!((code, status(&report, "model/model.onnx")), (1, "quarantined"));
}

#[test]
fn members_of_one_name_do_not_hide_each_other() {
    let random: Vec<u8> = (0..200u8).map(|i| i.wrapping_mul(97) | 0x80).collect();
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    let twins = tar(&[("a", scan::HARMLESS), ("a", b"\x80\x02}q\0."), ("a!b", b"\x80\x02]q\0.")]);
    let mixed = tar(&[("m", png), ("m", &random), ("m", png)]);
    let media = tar(&[("m", png)]);
    let directory = scan::folder(&[("twins.tar", &twins), ("mixed.tar", &mixed), ("media.tar", &media)]);
    let (_, report) = sweep(directory.path(), &["."]);
    let artifacts = report["artifacts"].as_array().unwrap();
    let of = |path: &str| artifacts.iter().filter(|model| model["path"] == path).collect::<Vec<_>>();
    let digests: std::collections::BTreeSet<String> =
        of("twins.tar").iter().map(|model| model["digest"]["sha256"].to_string()).collect();
    assert_eq!(digests.len(), 3, "{report:#}");
    assert!(of("mixed.tar").iter().any(|file| file["registration"]["status"] == "unjudged"), "{report:#}");
    assert!(of("media.tar").is_empty());
}

#[test]
fn of_a_layer_that_was_read_in_part_no_digest_is_claimed() {
    // A gzip of one stored block (RFC 1951, 3.2.4) holding a tar with a model that ends behind the limit.
    let header = br#"{"w":{"dtype":"U8","shape":[9000],"data_offsets":[0,9000]}}"#;
    let model = [&(header.len() as u64).to_le_bytes()[..], header, &[7; 9000]].concat();
    let layer = tar(&[("model.safetensors", &model)]);
    let length = u16::try_from(layer.len()).unwrap();
    let mut packed = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01".to_vec();
    packed.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
    packed.extend(&layer);
    let crc = layer.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    });
    packed.extend([(!crc).to_le_bytes(), u32::from(length).to_le_bytes()].concat());
    let directory = scan::folder(&[("image.tar", &tar(&[("blobs/layer", &packed)]))]);
    std::fs::create_dir(directory.path().join("etc")).unwrap();
    std::fs::write(directory.path().join("etc/limits.toml"), "inflated_bytes_max = 4096\n").unwrap();
    let whole = sweep(directory.path(), &["image.tar"]);
    assert_eq!(whole.0, 0, "{:#}", whole.1);
    assert_eq!(whole.1["artifacts"][0]["digest"]["sha256"], sha256(&model));
    let (code, cut) = sweep(directory.path(), &["image.tar", "--limits", "etc/limits.toml"]);
    assert_ne!(code, 0);
    let artifacts = cut["artifacts"].as_array().unwrap();
    assert!(!artifacts.is_empty() && artifacts.iter().all(|model| model["digest"].is_null()), "{cut:#}");
    assert!(artifacts.iter().all(|model| model["registration"]["status"] == "unjudged"), "{cut:#}");
}

#[test]
fn what_cannot_be_judged_is_named_and_ends_with_three() {
    let digits = project();
    let random: Vec<u8> = (0..200u8).map(|i| i.wrapping_mul(97) | 0x80).collect();
    write(digits.path(), "data/weights.raw", &random);
    let (code, report) = sweep(digits.path(), &[]);
    assert_eq!((code, status(&report, "data/weights.raw")), (3, "unjudged"));
    assert_eq!(control(digits.path()).0, "unknown");
    let run = casemate(digits.path(), &["inventory", "--exclude", "*.raw"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert!(run.stdout.contains("left out on request: 1 file"), "{}", run.stdout);
    assert_eq!(control(digits.path()).0, "unknown", "a filtered sweep is no evidence");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", digits.path().join("dangling.pt")).unwrap();
        let run = casemate(digits.path(), &["inventory", "--exclude", "*.raw"]);
        assert_eq!(run.code, 3);
        assert!(run.stdout.contains("dangling.pt"), "{}", run.stdout);
    }
    assert_eq!(casemate(digits.path(), &["inventory", "no-such-place"]).code, 2);
}

#[test]
fn an_inventory_comes_as_table_json_and_csv_and_follows_the_schema() {
    let digits = project();
    let (_, report) = sweep(digits.path(), &["--no-record"]);
    let schema: Value = serde_json::from_str(&casemate(digits.path(), &["schema", "report"]).stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let csv = casemate(digits.path(), &["inventory", "--no-record", "--format", "csv"]).stdout;
    assert!(csv.starts_with("path,member,format,size,sha256,verdict,registration,model,basis\r\n"), "{csv}");
    assert!(csv.contains("model/model.onnx,,onnx,") && csv.contains(",clean,known,digits,"), "{csv}");
    let text = casemate(digits.path(), &["inventory", "--no-record"]).stdout;
    assert!(text.contains("model/model.onnx") && text.contains("Known"), "{text}");
    // Without a project nothing is known, which is said.
    let bare = scan::folder(&[("a.pkl", scan::HARMLESS)]);
    let (code, report) = sweep(bare.path(), &["."]);
    assert_eq!((code, status(&report, "a.pkl")), (0, "unregistered"));
    assert_eq!(report["artifacts"][0]["registration"]["basis"], "no model is declared or scanned here");
    assert!(!bare.path().join(".casemate").exists());
}

#[cfg(unix)]
#[test]
fn a_hub_cache_is_shown_under_its_names_and_the_large_files_of_git_are_looked_into() {
    let directory = scan::folder(&[]);
    let cache = directory.path().join("hub/models--org--name");
    write(&cache, "blobs/0f3a", scan::HARMLESS);
    std::fs::create_dir_all(cache.join("snapshots/abc")).unwrap();
    std::os::unix::fs::symlink("../../blobs/0f3a", cache.join("snapshots/abc/model.pkl")).unwrap();
    write(directory.path(), "clone/.git/HEAD", b"ref: refs/heads/main\n");
    write(directory.path(), "clone/.git/index", b"DIRC\0\0\0\x02");
    write(directory.path(), "clone/.git/lfs/objects/aa/bb/aabb", scan::SYSTEM);
    let (code, report) = sweep(directory.path(), &["."]);
    assert_eq!(code, 1);
    let paths: Vec<&str> =
        report["artifacts"].as_array().unwrap().iter().map(|model| model["path"].as_str().unwrap()).collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert!(paths.contains(&"hub/models--org--name/snapshots/abc/model.pkl"), "{paths:?}");
    assert!(paths.contains(&"clone/.git/lfs/objects/aa/bb/aabb"), "{paths:?}");
}
