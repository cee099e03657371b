//! Each statement made and believed, and everything that must not be.

use std::fs;

use casemate_core::{Digest, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::approval::{Approval, Decision, Stage, StageReached};
use super::bom::Bom;
use super::descriptor::ResourceDescriptor;
use super::judge::{Judged, Keyring, Standing, judge, judge_all};
use super::predicate::{Kind, Predicate, Role, Tenor};
use super::provenance::{self, BuildDefinition, Builder, Input, Metadata, Provenance, RunDetails};
use super::results::{Result as TestOutcome, TestResult};
use super::summary::{Summary, VerificationResult, Verifier};
use super::*;
use crate::dsse;
use crate::keys::KeyPair;
use crate::keys::signing::KeyType;

fn now() -> Timestamp {
    "2026-11-21T09:30:00Z".parse().unwrap()
}

fn model(n: u8) -> ModelSubject {
    ModelSubject { name: format!("model-{n}"), manifest: Digest([n; 32]), file: None, signature: None }
}

fn ecdsa() -> AttestingKey {
    AttestingKey::generate(KeyType::EcdsaP256).unwrap()
}

fn trusting(keys: &[(&AttestingKey, Role)]) -> Keyring {
    let mut keyring = Keyring::default();
    keys.iter().for_each(|(key, role)| keyring.trust(key.public(), [*role]));
    keyring
}

fn stage(stage: Stage) -> Predicate {
    Predicate::Stage(StageReached { stage, reached_at: now() })
}

fn approval(expires_at: Option<Timestamp>) -> Approval {
    Approval {
        approver: "grace".into(),
        role: "release manager".into(),
        decision: Decision::Approved,
        reason: "release 1.2".into(),
        decided_at: now(),
        expires_at,
    }
}

fn trained() -> Provenance {
    let dependency =
        |input: Input| ResourceDescriptor::of(input.as_str(), Digest([7; 32])).with(provenance::INPUT, input.as_str());
    let external_parameters = [
        (provenance::HYPER_PARAMETERS.to_owned(), json!({"epochs": 3, "rate": 0.1})),
        (provenance::FROM_SCRATCH.to_owned(), json!(true)),
    ];
    let metadata = Metadata { invocation_id: None, started_on: Some(now().plus_days(-1)), finished_on: Some(now()) };
    Provenance {
        build_definition: BuildDefinition {
            build_type: provenance::BUILD_TYPE.into(),
            external_parameters: external_parameters.into(),
            internal_parameters: [].into(),
            resolved_dependencies: [Input::Code, Input::Data, Input::Parameters].map(dependency).into(),
        },
        run_details: RunDetails {
            builder: Builder { id: "https://ci.example.com/train".into(), version: [].into() },
            metadata: Some(metadata),
            byproducts: vec![ResourceDescriptor::default().with_content(br#"{"accuracy":0.91}"#, "application/json")],
        },
    }
}

fn summary(verification_result: VerificationResult, level: &str) -> Summary {
    Summary {
        verifier: Verifier { id: "https://casemate.example.com".into(), version: [].into() },
        time_verified: now(),
        resource_uri: "urn:casemate:model:digits".into(),
        policy: ResourceDescriptor::of("gates", Digest([1; 32])),
        input_attestations: vec![ResourceDescriptor::of("evidence", Digest([2; 32]))],
        verification_result,
        verified_levels: vec![level.into()],
        dependency_levels: [].into(),
        slsa_version: Some("1.1".into()),
    }
}

/// One predicate of each kind, about `model(3)`.
fn predicates() -> Vec<Predicate> {
    let test = TestResult {
        result: TestOutcome::Passed,
        configuration: vec![ResourceDescriptor::of("suite", Digest([4; 32]))],
        url: None,
        passed_tests: vec!["pgd".into()],
        warned_tests: vec![],
        failed_tests: vec![],
    };
    let bom = Bom::parse(br#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"name":"numpy"}]}"#).unwrap();
    let mut evidence = crate::testing::evidence(3);
    evidence.subject.name = "model-3".into();
    evidence.subject.digest = Digest([3; 32]);
    vec![
        Predicate::Provenance(Box::new(trained())),
        Predicate::Scan(Box::new(evidence)),
        Predicate::TestResult(test),
        Predicate::Bom(Box::new(bom)),
        Predicate::Approval(approval(None)),
        stage(Stage::AfterTraining),
        Predicate::Summary(Box::new(summary(VerificationResult::Passed, "SLSA_BUILD_LEVEL_1"))),
    ]
}

fn line(predicate: Predicate, keys: &[&AttestingKey]) -> Vec<u8> {
    Statement::about(&model(3), predicate, now()).sign(keys).unwrap()
}

fn judged(line: &[u8], keyring: &Keyring) -> Judged {
    judge(line, keyring, &model(3), now())
}

/// The line with its envelope edited, signatures left as they are.
fn edited(line: &[u8], edit: impl FnOnce(&mut dsse::Envelope)) -> Vec<u8> {
    let mut envelope = dsse::parse(line, line.len()).unwrap();
    edit(&mut envelope);
    envelope.to_json()
}

/// The payload `text` signed by `key` as it is, whatever it says.
fn signed_as_is(text: &str, key: &AttestingKey) -> Vec<u8> {
    dsse::sign(PAYLOAD_TYPE, text.as_bytes().to_vec(), &[key]).unwrap().to_json()
}

fn text_of(line: &[u8]) -> String {
    String::from_utf8(dsse::parse(line, line.len()).unwrap().payload).unwrap()
}

#[test]
fn every_kind_is_believed_from_its_role_and_from_no_other() {
    let pair = AttestingKey::Ed25519(KeyPair::generate().unwrap());
    for key in [ecdsa(), AttestingKey::generate(KeyType::EcdsaP384).unwrap(), pair] {
        for predicate in predicates() {
            let (role, kind) = (predicate.role(), predicate.kind());
            let line = line(predicate.clone(), &[&key]);
            let good = judged(&line, &trusting(&[(&key, role)]));
            assert_eq!(good.standing, Standing::Good, "{kind:?}");
            assert_eq!(good.good().unwrap().predicate, predicate);
            assert_eq!(good.claims.as_deref(), Some(kind.predicate_type()));
            assert_eq!(good.signers, [key.public().key_id()]);
            for other in Role::ALL.into_iter().filter(|other| *other != role) {
                let refused = judged(&line, &trusting(&[(&key, other)]));
                assert_eq!(refused.standing, Standing::SignerRefused(role), "{kind:?} {other:?}");
                assert!(refused.good().is_none());
            }
            assert_eq!(judged(&line, &trusting(&[(&ecdsa(), role)])).standing, Standing::UnknownKey);
        }
    }
}

#[test]
fn statements_have_the_members_their_specifications_demand() {
    let key = ecdsa();
    let required: [(Kind, &[&str]); 7] = [
        (
            Kind::Provenance,
            &["/buildDefinition/buildType", "/buildDefinition/externalParameters", "/runDetails/builder/id"],
        ),
        (Kind::Scan, &["/kind", "/outcome"]),
        (Kind::TestResult, &["/result", "/configuration"]),
        (Kind::Bom, &["/bomFormat", "/specVersion"]),
        (Kind::Approval, &["/approver", "/decision"]),
        (Kind::Stage, &["/stage", "/reached_at"]),
        (
            Kind::Summary,
            &[
                "/verifier/id",
                "/timeVerified",
                "/resourceUri",
                "/policy/digest/sha256",
                "/verificationResult",
                "/verifiedLevels",
            ],
        ),
    ];
    for predicate in predicates() {
        let kind = predicate.kind();
        let value: Value = serde_json::from_str(&text_of(&line(predicate, &[&key]))).unwrap();
        assert_eq!(value["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(value["predicateType"], kind.predicate_type());
        assert_eq!(value["subject"][0]["digest"]["sha256"], Digest([3; 32]).to_string());
        assert_eq!(value["subject"][0]["annotations"]["casemate"]["required_signatures"], json!(["ecdsa-p256"]));
        let (_, members) = required.iter().find(|(of, _)| *of == kind).unwrap();
        for member in *members {
            assert!(value["predicate"].pointer(member).is_some(), "{kind:?} {member}");
        }
        let names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names.len(), 4, "{names:?}");
    }
}

#[test]
fn one_statement_has_one_form() {
    for predicate in predicates() {
        let mut statement = Statement::about(&model(3), predicate, now());
        statement.remarks.push("waived: control SUP-02".into());
        let bytes = statement.to_json().unwrap();
        assert_eq!(Statement::parse(&bytes).unwrap(), statement);
        assert_eq!(Statement::parse(&bytes).unwrap().to_json().unwrap(), bytes);
    }
}

#[test]
fn a_file_is_found_by_its_plain_digest_too_and_a_signature_is_bound() {
    let (key, role) = (ecdsa(), Role::Training);
    let subject = ModelSubject {
        name: "net.onnx".into(),
        manifest: Digest([3; 32]),
        file: Some(("net.onnx".into(), Digest([9; 32]))),
        signature: Some(Digest([8; 32])),
    };
    let line = Statement::about(&subject, stage(Stage::AfterTraining), now()).sign(&[&key]).unwrap();
    let value: Value = serde_json::from_str(&text_of(&line)).unwrap();
    assert_eq!(value["subject"][1], json!({"name": "./net.onnx", "digest": {"sha256": Digest([9; 32]).to_string()}}));
    let standing = |model: &ModelSubject| judge(&line, &trusting(&[(&key, role)]), model, now()).standing;
    assert_eq!(standing(&subject), Standing::Good);
    assert_eq!(standing(&ModelSubject { manifest: Digest([5; 32]), ..subject.clone() }), Standing::Good);
    assert_eq!(standing(&ModelSubject { signature: None, ..subject.clone() }), Standing::Good);
    assert_eq!(standing(&ModelSubject { signature: Some(Digest([1; 32])), ..subject.clone() }), Standing::OtherSubject);
    // A digest of a signature file is no digest of a model.
    let disguised = ModelSubject { manifest: Digest([8; 32]), file: None, ..subject };
    assert_eq!(standing(&disguised), Standing::OtherSubject);
}

#[test]
fn a_line_of_another_model_or_with_its_subject_swapped_is_not_about_this_one() {
    let (key, keyring) = {
        let key = ecdsa();
        let keyring = trusting(&[(&key, Role::Storage)]);
        (key, keyring)
    };
    let other = Statement::about(&model(4), stage(Stage::BeforeStorage), now()).sign(&[&key]).unwrap();
    assert_eq!(judged(&other, &keyring).standing, Standing::OtherSubject);
    let (from, to) = (Digest([4; 32]).to_string(), Digest([3; 32]).to_string());
    let swapped = edited(&other, |envelope| {
        envelope.payload = String::from_utf8(envelope.payload.clone()).unwrap().replace(&from, &to).into_bytes();
    });
    assert!(matches!(judged(&swapped, &keyring).standing, Standing::BadSignature(_)));
    // A scan's subject and the subject of the evidence in it are one.
    let scan = text_of(&line(predicates().swap_remove(1), &[&key]));
    let contradicting = signed_as_is(&scan.replacen(&to, &from, 1), &key);
    assert!(matches!(judged(&contradicting, &trusting(&[(&key, Role::Scan)])).standing, Standing::Malformed(_)));
}

#[test]
fn no_signature_can_be_taken_away_nor_replaced_by_a_strangers() {
    let (first, second) = (ecdsa(), AttestingKey::generate(KeyType::MlDsa65).unwrap());
    let hybrid = line(stage(Stage::AfterTraining), &[&first, &second]);
    let (role, both) = (Role::Training, trusting(&[(&first, Role::Training), (&second, Role::Training)]));
    assert_eq!(judged(&hybrid, &both).standing, Standing::Good);
    for at in [0, 1] {
        let stripped = edited(&hybrid, |envelope| drop(envelope.signatures.remove(at)));
        for keyring in [&both, &trusting(&[(&first, role)]), &trusting(&[(&second, role)])] {
            assert_ne!(judged(&stripped, keyring).standing, Standing::Good, "{at}");
        }
        let Standing::BadSignature(why) = judged(&stripped, &both).standing else { panic!("{at}") };
        assert!(why.contains("required signature is missing"), "{why}");
        let flipped = edited(&hybrid, |envelope| envelope.signatures[at].sig[40] ^= 1);
        assert!(matches!(judged(&flipped, &both).standing, Standing::BadSignature(_)), "{at}");
    }
    // With the classical key alone the second signature is said not to have been checked.
    let one = judged(&hybrid, &trusting(&[(&first, role)]));
    assert_eq!((one.standing, one.notes.len()), (Standing::Good, 1));
    // Where the role has a post-quantum key, its signature is demanded, of that key and not of another.
    let single = line(stage(Stage::AfterTraining), &[&first]);
    let Standing::BadSignature(why) = judged(&single, &both).standing else { panic!() };
    assert!(why.contains("post-quantum"), "{why}");
    let strangers = line(stage(Stage::AfterTraining), &[&first, &AttestingKey::generate(KeyType::MlDsa65).unwrap()]);
    assert!(matches!(judged(&strangers, &both).standing, Standing::BadSignature(_)));
    let elsewhere = trusting(&[(&first, role), (&second, Role::Bom)]);
    assert_eq!(judged(&hybrid, &elsewhere).standing, Standing::Good);
    assert_eq!(
        judged(&line(stage(Stage::AfterTraining), &[&second]), &elsewhere).standing,
        Standing::SignerRefused(role)
    );
}

#[test]
fn approvals_end_and_nothing_comes_from_the_future() {
    let key = ecdsa();
    let keyring = trusting(&[(&key, Role::Approval)]);
    let standing = |end: i64, at: i64| {
        let approval = approval(Some(now().plus_days(end)));
        let line = Statement::about(&model(3), Predicate::Approval(approval), now()).sign(&[&key]).unwrap();
        judge(&line, &keyring, &model(3), now().plus_days(at)).standing
    };
    assert_eq!(standing(30, 29), Standing::Good);
    assert_eq!(standing(30, 30), Standing::Expired);
    assert_eq!(standing(30, -1), Standing::Future);
}

#[test]
fn what_contradicts_itself_is_neither_signed_nor_read() {
    let key = ecdsa();
    let refused = |predicate: Predicate| {
        assert!(Statement::about(&model(3), predicate, now()).sign(&[&key]).is_err());
    };
    let mut test = TestResult {
        result: TestOutcome::Passed,
        configuration: vec![],
        url: None,
        passed_tests: vec![],
        warned_tests: vec![],
        failed_tests: vec!["pgd".into()],
    };
    refused(Predicate::TestResult(test.clone()));
    test.result = TestOutcome::Failed;
    assert_eq!(Predicate::TestResult(test).tenor(), Tenor::Against);
    refused(Predicate::Summary(Box::new(summary(VerificationResult::Passed, "FAILED"))));
    refused(Predicate::Summary(Box::new(summary(VerificationResult::Failed, "SLSA_BUILD_LEVEL_3"))));
    refused(Predicate::Approval(Approval { approver: " ".into(), ..approval(None) }));
    let mut run = trained();
    run.run_details.metadata.as_mut().unwrap().started_on = Some(now().plus_days(1));
    refused(Predicate::Provenance(Box::new(run)));
    let mut evidence = crate::testing::evidence(3);
    evidence.facts.insert("ratio".into(), casemate_core::Fact::Number(f64::NAN));
    refused(Predicate::Scan(Box::new(evidence)));
    assert!(Bom::parse(br#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":{}}"#).is_err());
    assert!(Bom::parse(br#"{"bomFormat":"CycloneDX","bomFormat":"CycloneDX","specVersion":"1.6"}"#).is_err());
    assert!(Statement::about(&model(3), stage(Stage::AfterTraining), now()).sign(&[]).is_err());
}

#[test]
fn malformed_statements_are_refused_under_a_good_signature() {
    let key = ecdsa();
    let keyring = trusting(&[(&key, Role::Training)]);
    let text = text_of(&line(stage(Stage::AfterTraining), &[&key]));
    let standing = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        judged(&signed_as_is(&text.replacen(from, to, 1), &key), &keyring).standing
    };
    let malformed = |from: &str, to: &str| {
        let standing = standing(from, to);
        assert!(matches!(standing, Standing::Malformed(_)), "{to}: {standing:?}");
    };
    malformed(r#""stage":"#, r#""stage":"before-storage","stage":"#);
    malformed(r#""sha256":"#, r#""sha256":"00","sha256":"#);
    malformed(r#""stage":"#, r#""more":1,"stage":"#);
    malformed("after-training", "after-lunch");
    malformed(r#""signed_at":"#, r#""skipped":1,"signed_at":"#);
    malformed(&"03".repeat(32), &"03".repeat(31));
    malformed("Statement/v1", "Statement/v0.1");
    malformed(r#""required_signatures":["ecdsa-p256"]"#, r#""required_signatures":"ecdsa-p256""#);
    assert_eq!(standing("urn:casemate:stage:v1", "urn:else"), Standing::Unread("urn:else".into()));
    let empty = r#"{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"urn:casemate:stage:v1","predicate":{}}"#;
    assert!(matches!(judged(&signed_as_is(empty, &key), &keyring).standing, Standing::Malformed(_)));
    // Members that the published formats do not have yet are skipped.
    assert_eq!(standing(r#""predicateType":"#, r#""later":1,"predicateType":"#), Standing::Good);
}

#[test]
fn broken_lines_are_named_and_the_others_are_judged() {
    let key = ecdsa();
    let whole = line(stage(Stage::AfterTraining), &[&key]);
    let cut = whole[..whole.len() / 2].to_vec();
    let repeated = String::from_utf8(whole.clone()).unwrap().replacen('{', r#"{"payload":"","#, 1).into_bytes();
    let keyring = trusting(&[(&key, Role::Training)]);
    let all = judge_all(&[cut, repeated, b"\xff".to_vec(), whole.clone()], &keyring, &model(3), now());
    let standings: Vec<_> = all.iter().map(|judged| (judged.line, judged.standing.as_str())).collect();
    assert_eq!(standings, [(1, "malformed"), (2, "malformed"), (3, "malformed"), (4, "good")]);
    assert_eq!(all[3].digest, digest_of_line(&whole));
}

#[test]
fn lines_are_appended_whole_and_a_torn_one_is_not_continued() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("attestations.jsonl");
    let (one, two) = (b"{\"a\":1}".to_vec(), b"{\"b\":2}".to_vec());
    store::append(&path, std::slice::from_ref(&one)).unwrap();
    store::append(&path, &[two.clone(), one.clone()]).unwrap();
    assert_eq!(store::read(&path).unwrap(), [one.clone(), two, one.clone()]);
    fs::write(&path, b"{\"a\":1}\n\r\n{\"a\"").unwrap();
    assert!(matches!(store::append(&path, std::slice::from_ref(&one)), Err(store::Error::CutShort { .. })));
    assert_eq!(store::read(&path).unwrap(), [one.clone(), b"{\"a\"".to_vec()]);
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(store::FILE_BYTES_MAX + 1).unwrap();
    assert!(matches!(store::read(&path), Err(store::Error::TooLarge { .. })));
    assert!(matches!(store::append(&path, std::slice::from_ref(&one)), Err(store::Error::TooLarge { .. })));
    assert!(store::lines(&b"x\n".repeat(store::LINES_MAX)).is_some());
    assert!(store::lines(&b"x\n".repeat(store::LINES_MAX + 1)).is_none());
    assert!(matches!(store::read(directory.path()), Err(store::Error::Io { .. })));
    #[cfg(unix)]
    {
        let link = directory.path().join("link.jsonl");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(store::append(&link, &[one]), Err(store::Error::Io { .. })));
    }
}

#[test]
fn several_writers_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("attestations.jsonl");
    std::thread::scope(|scope| {
        for n in 0..8 {
            let path = &path;
            scope.spawn(move || (0..20).for_each(|m| store::append(path, &[format!("{n}-{m}").into_bytes()]).unwrap()));
        }
    });
    let mut lines = store::read(&path).unwrap();
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 160);
}

#[test]
fn ten_thousand_lines_are_judged() {
    let key = AttestingKey::Ed25519(KeyPair::generate().unwrap());
    let lines = vec![line(stage(Stage::AfterTraining), &[&key]); 10_000];
    let all = judge_all(&lines, &trusting(&[(&key, Role::Training)]), &model(3), now());
    assert_eq!(all.iter().filter(|judged| judged.good().is_some()).count(), 10_000);
    assert_eq!(all[9_999].line, 10_000);
}

#[test]
fn planted_defects_are_seen_with_any_keys_of_the_project() {
    let (first, second) = (ecdsa(), AttestingKey::generate(KeyType::MlDsa65).unwrap());
    for keyring in
        [Keyring::default(), trusting(&[(&first, Role::Training), (&second, Role::Training), (&first, Role::Bom)])]
    {
        let tested = self_test(&keyring, &model(3), now()).unwrap();
        assert!(tested.holds() && tested.planted == 6, "{tested:?}");
    }
    let keyring = trusting(&[(&first, Role::Training), (&second, Role::Training)]);
    let lines = [line(stage(Stage::AfterTraining), &[&first, &second])];
    let judged = judge_all(&lines, &keyring, &model(3), now());
    assert!(judged[0].good().is_some());
    assert!(wrong_keys_refused(&lines, &judged, &keyring, &model(3), now()).unwrap());
}

#[test]
fn a_run_says_what_it_lacks_and_whether_it_was_repeated() {
    let mut run = trained();
    assert!(run.missing().is_empty());
    assert_eq!(run.rerun_agrees(), None);
    run.build_definition.external_parameters.remove(provenance::FROM_SCRATCH);
    run.build_definition.resolved_dependencies.remove(0);
    run.run_details.metadata = None;
    assert_eq!(run.missing(), ["code", "base model", "begin and end"]);
    let metrics = |name: &str, text: &str| {
        let mut thing = ResourceDescriptor::of(name, sha256(text.as_bytes()));
        thing = thing.with_content(text.as_bytes(), "application/json");
        thing.with(provenance::TOLERANCE, 0.01)
    };
    let mut rerun = |first: &str, again: &str| {
        run.run_details.byproducts =
            vec![metrics(provenance::METRICS, first), metrics(provenance::METRICS_AGAIN, again)];
        run.rerun_agrees()
    };
    assert_eq!(rerun(r#"{"accuracy":0.91}"#, r#"{"accuracy":0.905}"#), Some(true));
    assert_eq!(rerun(r#"{"accuracy":0.91}"#, r#"{"accuracy":0.89}"#), Some(false));
    assert_eq!(rerun(r#"{"accuracy":0.91}"#, r#"{"precision":0.91}"#), Some(false));
    assert_eq!(rerun(r#"{"accuracy":0.91,"auc":0.9}"#, r#"{"accuracy":0.91}"#), Some(false));
    assert_eq!(rerun("{}", "{}"), Some(false));
    run.run_details.byproducts.remove(0);
    assert_eq!(run.rerun_agrees(), Some(false));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_without_panic(bytes: Vec<u8>) {
        let _ = Statement::parse(&bytes);
        let _ = judge(&bytes, &Keyring::default(), &model(3), now());
    }

    #[test]
    fn one_changed_byte_never_panics(at in 0usize..4000, byte: u8, which in 0usize..7) {
        let mut bytes = Statement::about(&model(3), predicates().swap_remove(which), now()).to_json().unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = Statement::parse(&bytes);
    }
}
