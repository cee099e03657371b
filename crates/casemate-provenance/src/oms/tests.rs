//! Signing and verifying, and every hole of the reference that is closed here.

use std::fs;
use std::path::Path;

use super::compare::{CompareSettings, Comparison, compare, list};
use super::payload::{HashType, Resource};
use super::*;
use crate::digests::{Draw, KnownDigests};
use crate::keys::signing::{KeyType, SigningKey};

struct Model {
    dir: tempfile::TempDir,
    key: SigningKey,
}

impl Model {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, contents) in [
            ("x/y", "deep"),
            ("x-y", "beside"),
            ("weights.safetensors", "w"),
            ("empty", ""),
            (".gitattributes", "* lfs"),
            (".github/workflows/ci.yml", "on: push"),
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        Self { dir, key: SigningKey::generate(KeyType::EcdsaP256).unwrap() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn listed(&self) -> Signed {
        list(self.path(), HashType::Sha256, &[], None, &|_| ()).unwrap()
    }

    fn trusted(&self) -> Trusted {
        Trusted { signer: Signer::Key(self.key.public().clone()), pq_key: None, require_pq: false, allow_legacy: false }
    }

    fn bundle(&self) -> Vec<u8> {
        sign(self.listed(), with(&self.key, None)).unwrap()
    }

    fn compared(&self, signed: &Signed) -> Comparison {
        compared_at(signed, self.path(), &[])
    }

    /// What happens to a signature over exactly this payload.
    fn opened(&self, payload: &str) -> Result<Opened, Error> {
        let sig = self.key.sign(&pae(PAYLOAD_TYPE, payload.as_bytes())).unwrap();
        self.open_with(payload, vec![Signature { keyid: String::new(), sig }], &self.trusted())
    }

    fn open_with(&self, payload: &str, signatures: Vec<Signature>, trusted: &Trusted) -> Result<Opened, Error> {
        let material = Material::PublicKey { hint: Some(self.key.public().hint()) };
        let bundle = Bundle { material, payload_type: PAYLOAD_TYPE.into(), payload: payload.into(), signatures };
        open(&bundle.to_json(), trusted)
    }
}

fn with<'a>(key: &'a SigningKey, pq_key: Option<&'a SigningKey>) -> SignWith<'a> {
    SignWith { key, pq_key: pq_key.map(|key| key as &dyn ModelSigner), certificates: &[] }
}

fn compared_at(signed: &Signed, root: &Path, partial: &[String]) -> Comparison {
    let is_loadable = |path: &Path| path.extension().is_some_and(|ending| ending == "pkl");
    let settings =
        CompareSettings { partial, signature_names: &[], is_loadable: &is_loadable, known: None, progress: &|_| () };
    compare(signed, root, &settings).unwrap()
}

/// A payload of the reference's shape over these files, with the right subject.
fn payload(serialization: &str, names: &[&str]) -> String {
    let digest = crate::sha256(b"w");
    let digests: Vec<u8> = names.iter().flat_map(|_| digest.0).collect();
    let resources: Vec<String> =
        names.iter().map(|name| format!(r#"{{"name":{name:?},"algorithm":"sha256","digest":"{digest}"}}"#)).collect();
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"m","digest":{{"sha256":"{}"}}}}],
        "predicateType":"https://model_signing/signature/v1.0","predicate":{{"serialization":{serialization},"resources":[{}]}}}}"#,
        crate::sha256(&digests),
        resources.join(",")
    )
}

const FILES: &str = r#"{"method":"files","hash_type":"sha256","allow_symlinks":false}"#;

fn refusal(result: Result<Opened, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn what_was_signed_verifies_and_every_difference_is_named() {
    let model = Model::new();
    let opened = open(&model.bundle(), &model.trusted()).unwrap();
    let names: Vec<&str> = opened.signed.resources.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(names, ["empty", "weights.safetensors", "x/y", "x-y"], "sorted by component");
    assert!(model.compared(&opened.signed).holds());

    fs::write(model.path().join("x-y"), "besides").unwrap();
    fs::remove_file(model.path().join("empty")).unwrap();
    fs::write(model.path().join("x/new.py"), "").unwrap();
    let comparison = model.compared(&opened.signed);
    assert_eq!(comparison.changed, ["x-y"]);
    assert_eq!(comparison.missing, ["empty"]);
    assert_eq!(comparison.added, ["x/new.py"]);
    assert!(!comparison.holds());
}

#[test]
fn a_single_file_is_named_by_a_dot() {
    let model = Model::new();
    let file = model.path().join("weights.safetensors");
    let signed = list(&file, HashType::Blake3, &[], None, &|_| ()).unwrap();
    assert_eq!(signed.resources[0].name, ".");
    let opened = open(&sign(signed, with(&model.key, None)).unwrap(), &model.trusted()).unwrap();
    assert!(compared_at(&opened.signed, &file, &[]).holds());
    fs::write(&file, "v").unwrap();
    assert_eq!(compared_at(&opened.signed, &file, &[]).changed, ["."]);
}

#[test]
fn files_the_reference_leaves_out_are_covered_too() {
    let model = Model::new();
    let opened = open(&model.bundle(), &model.trusted()).unwrap();
    let beside: Vec<&str> = opened.signed.also_covers.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(beside, [".gitattributes", ".github/workflows/ci.yml"]);
    fs::write(model.path().join(".github/payload.txt"), "").unwrap();
    fs::write(model.path().join(".github/workflows/ci.yml"), "changed").unwrap();
    fs::remove_file(model.path().join(".gitattributes")).unwrap();
    let comparison = model.compared(&opened.signed);
    assert_eq!(comparison.added, [".github/payload.txt"]);
    assert_eq!(comparison.changed, [".github/workflows/ci.yml"]);
    assert_eq!((comparison.missing.len(), comparison.missing_beside.len()), (0, 1));
}

#[test]
fn a_loadable_file_under_a_path_others_ignore_is_a_difference() {
    let model = Model::new();
    // As the reference signs: nothing said about what it ignores.
    let mut signed = model.listed();
    signed.also_covers.clear();
    signed.covers_defaults = false;
    assert!(model.compared(&signed).holds());
    fs::write(model.path().join(".github/payload.pkl"), "").unwrap();
    let comparison = model.compared(&signed);
    assert_eq!(comparison.uncovered_loadable, [".github/payload.pkl"]);
    assert!(comparison.uncovered.contains(&".gitattributes".to_owned()));
    assert!(!comparison.holds());
}

#[test]
fn equal_contents_under_other_names_do_not_verify() {
    let model = Model::new();
    let opened = open(&model.bundle(), &model.trusted()).unwrap();
    fs::rename(model.path().join("x-y"), model.path().join("x-z")).unwrap();
    let comparison = model.compared(&opened.signed);
    assert_eq!((comparison.missing, comparison.added), (vec!["x-y".to_owned()], vec!["x-z".to_owned()]));
}

#[test]
fn a_partial_comparison_says_what_it_did_not_look_at() {
    let model = Model::new();
    let opened = open(&model.bundle(), &model.trusted()).unwrap();
    fs::write(model.path().join("x-y"), "changed").unwrap();
    let comparison = compared_at(&opened.signed, model.path(), &["weights.safetensors".into()]);
    assert!(comparison.holds());
    assert_eq!((comparison.equal, comparison.unchecked.len()), (1, 5));
    let comparison = compared_at(&opened.signed, model.path(), &["nowhere".into()]);
    assert_eq!((comparison.holds(), comparison.unsigned), (false, vec!["nowhere".to_owned()]));
}

#[test]
fn a_partial_comparison_reads_the_files_it_is_asked_for_and_no_others() {
    let model = Model::new();
    let signed = Signed { covers_defaults: false, ..open(&model.bundle(), &model.trusted()).unwrap().signed };
    fs::write(model.path().join(".github/cache"), "ignored, and not signed").unwrap();
    let known = KnownDigests::new([], Draw::all(), std::time::SystemTime::now());
    let settings = CompareSettings {
        partial: &["x/y".into()],
        signature_names: &[],
        is_loadable: &|path| panic!("{} was to be read", path.display()),
        known: Some(&known),
        progress: &|_| (),
    };
    let comparison = compare(&signed, model.path(), &settings).unwrap();
    assert!(comparison.holds());
    assert!(comparison.unchecked.contains(&".github/cache".to_owned()));
    assert_eq!((known.account().files_read, known.account().bytes_read), (1, 4));
}

#[cfg(unix)]
#[test]
fn links_inside_the_model_are_compared_and_named_unless_the_signer_allowed_them() {
    let model = Model::new();
    let mut signed = model.listed();
    std::os::unix::fs::symlink("x-y", model.path().join("link")).unwrap();
    let digest = signed.resources[3].digest;
    signed.resources.insert(0, Resource { name: "link".into(), digest });
    let comparison = model.compared(&signed);
    assert_eq!((comparison.holds(), comparison.links), (true, vec!["link".to_owned()]));
    assert!(model.listed().allow_symlinks);
}

#[test]
fn lists_that_match_anything_are_malformed() {
    let model = Model::new();
    assert!(refusal(model.opened(&payload(FILES, &[]))).contains("names no file"));
    let ignoring = |path: &str| format!(r#"{{"method":"files","hash_type":"sha256","ignore_paths":[{path:?}]}}"#);
    for path in [".", "", "/", "..", "./a"] {
        assert!(refusal(model.opened(&payload(&ignoring(path), &["w"]))).contains("ignored path"), "{path}");
    }
    model.opened(&payload(&ignoring("logs"), &["w"])).unwrap();
}

#[test]
fn names_that_leave_the_model_or_are_not_canonical_or_unique_are_malformed() {
    let model = Model::new();
    for name in ["../outside", "/etc/passwd", "./a", "b/", "a//b", "", "a\\b", "a/../b"] {
        assert!(refusal(model.opened(&payload(FILES, &[name]))).contains("the name"), "{name}");
    }
    assert!(refusal(model.opened(&payload(FILES, &["a", "a"]))).contains("named twice"));
    assert!(refusal(model.opened(&payload(FILES, &[".", "a"]))).contains("single file"));
    let notes = model.opened(&payload(FILES, &["a", "A"])).unwrap().notes;
    assert_eq!(notes, ["`a` and `A` are one name where case does not count"]);
}

#[test]
fn a_subject_that_is_not_the_list_is_malformed() {
    let model = Model::new();
    let good = payload(FILES, &["w"]);
    let bad = good.replace(&crate::sha256(&crate::sha256(b"w").0).to_string(), &crate::sha256(b"").to_string());
    assert_ne!(good, bad);
    assert!(refusal(model.opened(&bad)).contains("not that of the list"));
}

#[test]
fn blake2_and_unknown_forms_are_refused_by_name() {
    let model = Model::new();
    for (serialization, named) in [
        (r#"{"method":"shards","hash_type":"sha256","shard_size":1000000000}"#, "`sha256-sharded-SIZE`"),
        (r#"{"method":"shards","hash_type":"blake3","shard_size":1000000000}"#, "shards are read as"),
        (r#"{"method":"pages","hash_type":"sha256"}"#, "`pages`"),
        (r#"{"method":"files","hash_type":"blake2b"}"#, "blake2"),
        (r#"{"method":"files","hash_type":"md5"}"#, "`md5`"),
    ] {
        assert!(refusal(model.opened(&payload(serialization, &["w"]))).contains(named));
    }
    let other = payload(FILES, &["w"]).replace("signature/v1.0", "signature/v9");
    assert!(refusal(model.opened(&other)).contains("signature/v9"));
}

#[test]
fn repeated_keys_and_unknown_members_are_refused() {
    let model = Model::new();
    let twice = payload(FILES, &["w"]).replace(r#""predicateType""#, r#""predicateType":"x","predicateType""#);
    assert!(refusal(model.opened(&twice)).contains("repeated"));
    let bundle = String::from_utf8(model.bundle()).unwrap();
    let more = bundle.replacen('{', r#"{"more":1,"#, 1);
    assert!(matches!(open(more.as_bytes(), &model.trusted()), Err(Error::Json(_))));
    let other = bundle.replace("bundle.v0.3", "bundle.v0.4");
    assert!(matches!(open(other.as_bytes(), &model.trusted()), Err(Error::Malformed(_))));
}

#[test]
fn an_envelope_without_signatures_is_malformed() {
    let model = Model::new();
    let empty = model.open_with(&payload(FILES, &["w"]), Vec::new(), &model.trusted());
    assert!(matches!(empty, Err(Error::Malformed(what)) if what.contains("no signatures")));
}

#[test]
fn another_key_and_another_hint_are_refused() {
    let model = Model::new();
    let other = SigningKey::generate(KeyType::EcdsaP256).unwrap();
    let trusted = Trusted { signer: Signer::Key(other.public().clone()), ..model.trusted() };
    assert!(refusal(open(&model.bundle(), &trusted)).contains("another key"));
    // The hint is not signed: one that lies buys nothing.
    let lying = String::from_utf8(model.bundle()).unwrap().replace(&model.key.public().hint(), &other.public().hint());
    assert!(refusal(open(lying.as_bytes(), &trusted)).contains("does not match the key"));
}

#[test]
fn a_hybrid_signature_cannot_be_stripped() {
    let model = Model::new();
    let pq = SigningKey::generate(KeyType::MlDsa65).unwrap();
    let bytes = sign(model.listed(), with(&model.key, Some(&pq))).unwrap();
    let with_pq = Trusted { pq_key: Some(pq.public().clone()), require_pq: true, ..model.trusted() };
    let opened = open(&bytes, &with_pq).unwrap();
    assert_eq!(opened.signed.required_signatures, ["ecdsa-p256", "ml-dsa-65"]);
    let states: Vec<SignatureState> = opened.signatures.iter().map(|signature| signature.state).collect();
    assert_eq!(states, [SignatureState::Good, SignatureState::Good]);
    // Without the key it is there and not checked, and said so.
    let unchecked = open(&bytes, &model.trusted()).unwrap();
    assert_eq!(unchecked.signatures[1].state, SignatureState::NotChecked);
    assert!(unchecked.notes[0].contains("was not checked"));
    let demanded = Trusted { require_pq: true, ..model.trusted() };
    assert!(refusal(open(&bytes, &demanded)).contains("demanded"));

    let mut stripped = Bundle::parse(&bytes).unwrap();
    stripped.signatures.pop();
    for trusted in [&with_pq, &model.trusted()] {
        assert!(refusal(open(&stripped.to_json(), trusted)).contains("required signature is missing: ml-dsa-65"));
    }
    let mut broken = Bundle::parse(&bytes).unwrap();
    broken.signatures[1].sig[7] ^= 1;
    assert!(refusal(open(&broken.to_json(), &with_pq)).contains("ml-dsa-65 signature is bad"));
    // A model signed without one does not pass where one is demanded.
    assert!(refusal(open(&model.bundle(), &with_pq)).contains("demanded"));
}

#[test]
fn old_forms_are_read_only_when_asked_for() {
    let model = Model::new();
    let digest = crate::sha256(b"w");
    let old = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"weights.safetensors","digest":{{"sha256":"{digest}"}}}}],
        "predicateType":"https://model_signing/Digests/v0.1","predicate":{{"unused":"it's"}}}}"#
    );
    assert!(matches!(model.opened(&old), Err(Error::Legacy(_))));
    let allowing = Trusted { allow_legacy: true, ..model.trusted() };
    // Signed over the broken encoding: not good unless asked for.
    let bundle = Bundle {
        material: Material::PublicKey { hint: None },
        payload_type: PAYLOAD_TYPE.into(),
        payload: old.clone().into(),
        signatures: Vec::new(),
    };
    let sig = model.key.sign(&bundle.legacy_message()).unwrap();
    let signatures = vec![Signature { keyid: String::new(), sig }];
    assert!(refusal(model.open_with(&old, signatures.clone(), &model.trusted())).contains("does not match"));
    let opened = model.open_with(&old, signatures, &allowing).unwrap();
    assert_eq!(opened.signed.resources[0].name, "weights.safetensors");
    assert!(opened.notes[0].contains("before v1.0"));
}

#[test]
fn a_flipped_bit_anywhere_in_a_bundle_never_verifies() {
    let model = Model::new();
    let bytes = model.bundle();
    let before = open(&bytes, &model.trusted()).unwrap();
    for at in 0..bytes.len() {
        for bit in [0, 3, 6] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            if let Ok(opened) = open(&flipped, &model.trusted()) {
                // Spelling of base64 padding bits or of the unsigned key name may change; what is believed may not.
                assert_eq!(opened.signed, before.signed, "byte {at} bit {bit}");
            }
        }
    }
}

/// A key service that answers with something.
#[derive(Debug)]
struct Elsewhere {
    public: VerifyingKey,
    answer: Result<Vec<u8>, ()>,
}

impl ModelSigner for Elsewhere {
    fn public(&self) -> &VerifyingKey {
        &self.public
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, crate::keys::Error> {
        let refused = |()| crate::keys::Error::Elsewhere { key: "there".into(), what: "refused".into() };
        self.answer.clone().map_err(refused)
    }
}

#[test]
fn what_a_key_elsewhere_answers_is_checked_before_it_counts() {
    let model = Model::new();
    let public = model.key.public().clone();
    let another = SigningKey::generate(KeyType::EcdsaP256).unwrap();
    let lies = [Vec::new(), vec![0; 70], model.key.sign(b"another message").unwrap(), another.sign(b"").unwrap()];
    for lie in lies {
        let key = Elsewhere { public: public.clone(), answer: Ok(lie) };
        let result = sign(model.listed(), SignWith { key: &key, pq_key: None, certificates: &[] });
        assert!(matches!(result, Err(Error::NotSigned { key_id }) if key_id == public.key_id()));
    }
    let key = Elsewhere { public, answer: Err(()) };
    let result = sign(model.listed(), SignWith { key: &key, pq_key: None, certificates: &[] });
    assert_eq!(result.unwrap_err().to_string(), "`there`: refused");
}

#[test]
fn only_ecdsa_may_stand_first() {
    let model = Model::new();
    let pq = SigningKey::generate(KeyType::MlDsa65).unwrap();
    assert!(matches!(sign(model.listed(), with(&pq, None)), Err(Error::Malformed(_))));
    assert!(matches!(sign(model.listed(), with(&model.key, Some(&model.key))), Err(Error::Malformed(_))));
}
