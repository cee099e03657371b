//! SUP-03 through the command line: a base model against what its publisher states, and everything that must not pass for it.

use std::fs;
use std::path::Path;

use super::casemate;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// State and reason of a control after a check, and its one record of `kind`.
pub fn control(root: &Path, id: &str) -> (String, String) {
    let run = casemate(root, &["check", "--format", "json"]);
    let report = run.json();
    let control = report["controls"].as_array().unwrap().iter().find(|control| control["id"] == id).unwrap();
    let text = |key: &str| control[key].as_str().unwrap().to_owned();
    (text("state"), text("reason"))
}

fn sha256(path: &Path) -> String {
    let output =
        casemate(path.parent().unwrap(), &["scan", path.file_name().unwrap().to_str().unwrap(), "--format", "json"]);
    output.json()["artifacts"][0]["digest"]["sha256"].as_str().unwrap().to_owned()
}

/// The example with a base of two files, and a `[[base]]` of the lines given.
struct Project {
    directory: tempfile::TempDir,
    configuration: String,
}

impl Project {
    fn new() -> Self {
        let directory = super::example("digits");
        let root = directory.path();
        fs::create_dir(root.join("base")).unwrap();
        fs::copy(root.join("model/model.safetensors"), root.join("base/model.safetensors")).unwrap();
        fs::write(root.join("base/config.json"), "{}").unwrap();
        let configuration = fs::read_to_string(root.join("casemate.toml")).unwrap();
        Self { configuration, directory }
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    fn sup_03(&self, revision: &str, lines: &str) -> (String, String) {
        // Two declared models: the base is one of them, so that its own state does not blur what is asked.
        let base = format!(
            "\n[[base]]\nname = \"theirs\"\npath = \"base\"\nsource = \"hf://org/name\"\nrevision = \"{revision}\"\n{lines}\n"
        );
        let declared = "\n[[model]]\nname = \"theirs\"\npath = \"base\"\nstage = \"retired\"\n";
        let text = self.configuration.replacen("[[dataset]]", &format!("{declared}{base}\n[[dataset]]"), 1);
        fs::write(self.root().join("casemate.toml"), text).unwrap();
        control(self.root(), "SUP-03")
    }

    fn files(&self) -> String {
        let of = |name: &str| format!("\"{name}\" = \"sha256:{}\"", sha256(&self.root().join("base").join(name)));
        format!("files = {{ {}, {} }}", of("model.safetensors"), of("config.json"))
    }
}

#[test]
fn a_base_is_what_its_publisher_states_at_a_commit_and_nothing_else_passes() {
    let project = Project::new();
    let root = project.root();
    let files = project.files();
    let (state, reason) = project.sup_03(COMMIT, &files);
    assert_eq!(state, "pass", "{reason}");
    for moving in ["main", "v1.0", "refs/pr/1", &COMMIT[1..], &format!("sha256:{}", "a".repeat(64))] {
        let (state, reason) = project.sup_03(moving, &files);
        assert!(state == "fail" && reason.contains("revision_pinned"), "{moving} {state}: {reason}");
    }
    let digest = sha256(&root.join("base/config.json"));
    let (state, reason) = project.sup_03(COMMIT, &files.replace(&digest, &"0".repeat(64)));
    assert!(state == "fail" && reason.contains("digest_matches"), "{state}: {reason}");
    // A file nobody states anything of.
    fs::write(root.join("base/modeling.py"), "print()\n").unwrap();
    let (state, reason) = project.sup_03(COMMIT, &files);
    assert!(state == "fail" && reason.contains("files_unverified"), "{state}: {reason}");
    fs::remove_file(root.join("base/modeling.py")).unwrap();
    // What the client keeps of a download is no file of the model, unless it is more than that.
    let books = root.join("base/.cache/huggingface/download");
    fs::create_dir_all(&books).unwrap();
    fs::write(books.join("config.json.metadata"), format!("{COMMIT}\netag\n1.0\n")).unwrap();
    assert_eq!(project.sup_03(COMMIT, &files).0, "pass");
    fs::write(books.join("config.json.metadata"), format!("{}\netag\n1.0\n", "f".repeat(40))).unwrap();
    assert_eq!(project.sup_03(COMMIT, &files).0, "fail", "downloaded at another commit");
    fs::write(books.join("config.json.metadata"), b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.").unwrap();
    assert_eq!(project.sup_03(COMMIT, &files).0, "fail", "a pickle under the client's name");
    fs::remove_dir_all(root.join("base/.cache")).unwrap();
    // One bit.
    let weights = root.join("base/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    assert_eq!(project.sup_03(COMMIT, &files).0, "fail");
}

#[test]
fn checksums_the_whole_digest_and_a_signature_count_likewise() {
    let project = Project::new();
    let root = project.root();
    let sums = |name: &str| format!("{}  ./{name}\n", sha256(&root.join("base").join(name)));
    fs::write(root.join("base.sums"), sums("model.safetensors") + &sums("config.json")).unwrap();
    assert_eq!(project.sup_03(COMMIT, "checksums = \"base.sums\"").0, "pass");
    fs::write(root.join("base.sums"), "nonsense\n").unwrap();
    // Before any failure, which only a pass would clear.
    let (state, reason) = project.sup_03(COMMIT, "checksums = \"base.sums\"");
    assert!(state == "unknown" && reason.contains("line 1"), "{state}: {reason}");
    fs::write(root.join("base.sums"), sums("model.safetensors")).unwrap();
    assert_eq!(project.sup_03(COMMIT, "checksums = \"base.sums\"").0, "fail", "half is not all");
    assert_eq!(project.sup_03(COMMIT, "").0, "fail", "a base of which nothing is stated");

    let shown = casemate(root, &["ledger", "show", "--format", "json"]).stdout;
    let records: Vec<serde_json::Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_scan = |record: &&serde_json::Value| {
        record["evidence"]["kind"] == "artifact.scan" && record["evidence"]["subject"]["name"] == "theirs"
    };
    let digest = &records.iter().find(is_scan).unwrap()["evidence"]["subject"]["digest"];
    let whole = format!("digest = \"sha256:{}\"", digest.as_str().unwrap());
    assert_eq!(project.sup_03(COMMIT, &whole).0, "pass");
    assert_eq!(project.sup_03(COMMIT, &format!("digest = \"sha256:{}\"", "a".repeat(64))).0, "fail");

    assert_eq!(casemate(root, &["keygen", "-o", "publisher.pem"]).code, 0);
    assert_eq!(casemate(root, &["keygen", "-o", "other.pem"]).code, 0);
    let sign = ["sign", "base", "--key", "publisher.pem", "--signature", "base/model.sig"];
    assert_eq!(casemate(root, &sign).code, 0);
    let signed = |key: &str| project.sup_03(COMMIT, &format!("signature = \"base/model.sig\"\nkey = \"{key}\"")).0;
    assert_eq!(signed("publisher.pub.pem"), "pass");
    assert_eq!(signed("other.pub.pem"), "fail");
    fs::write(root.join("base/config.json"), "[]").unwrap();
    assert_eq!(signed("publisher.pub.pem"), "fail");
}

#[test]
fn a_named_base_is_found_whatever_is_declared_and_no_base_is_not_found_absent() {
    let project = Project::new();
    let (state, _) = control(project.root(), "SUP-03");
    assert_eq!(state, "not-applicable", "the example declares that it builds on nothing");
    let (state, _) = project.sup_03(COMMIT, "");
    assert_eq!(state, "fail", "a named base counts against the declaration");
}

#[test]
fn verification_that_refuses_is_half_of_what_loading_needs() {
    let project = super::example("digits");
    let root = project.path();
    let run = |arguments: &[&str]| assert_eq!(casemate(root, arguments).code, 0, "{arguments:?}");
    run(&["keygen", "-o", "release.pem"]);
    run(&["sign", "model", "--key", "release.pem", "--signature", "digits.sig"]);
    let text = fs::read_to_string(root.join("casemate.toml")).unwrap();
    let text = text.replace("path = \"model\"", "path = \"model\"\nsignature = \"digits.sig\"");
    let text = text.replace("served = false", "served = true");
    fs::write(root.join("casemate.toml"), format!("{text}\n[trust]\nkeys = [\"release.pub.pem\"]\n")).unwrap();
    let checks = || {
        let report = casemate(root, &["check", "--format", "json"]).json();
        let control = report["controls"].as_array().unwrap().iter().find(|control| control["id"] == "STO-02").unwrap();
        (control["state"].clone(), control["evidence"].clone(), control["reason"].clone())
    };
    let (state, _, reason) = checks();
    assert_eq!(state, "unknown", "{reason}");
    assert!(reason.as_str().unwrap().contains("gateway.load-probe"), "{reason}");
    let left: Vec<_> = fs::read_dir(root.join(".casemate")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("load-probe")), "{left:?}");
    let ledger = casemate(root, &["ledger", "show", "--format", "json"]).stdout;
    assert!(ledger.contains("provenance.load-probe") && !ledger.contains("integrity-event"), "{ledger}");
    // Without a key that is trusted nothing was tried.
    let mut bytes = fs::read(root.join("model/model.onnx")).unwrap();
    bytes[100] ^= 1;
    fs::write(root.join("model/model.onnx"), bytes).unwrap();
    let (state, _, reason) = checks();
    assert_eq!(state, "fail", "the approved version is not there: {reason}");
}
