//! What pipelines read: JUnit XML, annotations of GitHub Actions, and SARIF without anything of the machine.

use std::collections::BTreeMap;

use super::{casemate, scan};

/// One element of an XML document.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    children: Vec<Element>,
    text: String,
}

/// Reads the XML this tool writes, and fails on anything that is not well formed.
fn xml(document: &str) -> Element {
    let body = document.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").expect("a declaration");
    let mut open = vec![Element::default()];
    let mut rest = body;
    while let Some(at) = rest.find('<') {
        open.last_mut().unwrap().text.push_str(&decoded(&rest[..at]));
        let end = at + rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let closed = open.pop().unwrap();
            assert_eq!(closed.name, name, "tags nest");
            open.last_mut().unwrap().children.push(closed);
            continue;
        }
        let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut element = Element { name: name.into(), ..Element::default() };
        while let Some((key, value)) = attributes.trim_start().split_once("=\"") {
            let (value, more) = value.split_once('"').expect("a value ends");
            assert!(element.attributes.insert(key.into(), decoded(value)).is_none(), "{key} stands twice");
            attributes = more;
        }
        assert!(attributes.trim().is_empty(), "{attributes:?}");
        if empty { open.last_mut().unwrap().children.push(element) } else { open.push(element) }
    }
    assert!(rest.trim().is_empty() && open.len() == 1);
    let mut root = open.pop().unwrap();
    assert_eq!(root.children.len(), 1, "one root");
    root.children.pop().unwrap()
}

fn decoded(text: &str) -> String {
    let names = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    let bare = names.iter().fold(text.to_owned(), |text, (name, _)| text.replace(name, ""));
    assert!(!bare.contains(['&', '<', '>', '"']), "{text}");
    assert!(bare.chars().all(|char| char == '\n' || !char.is_control()), "{text:?}");
    names.iter().fold(text.to_owned(), |text, (name, char)| text.replace(name, char))
}

/// What junit-10.xsd demands: elements in their places, required attributes, counts that agree.
fn junit(document: &str) -> Element {
    let root = xml(document);
    assert_eq!(root.name, "testsuites");
    let mut sums = BTreeMap::new();
    for suite in &root.children {
        assert_eq!(suite.name, "testsuite");
        assert!(!suite.attributes["name"].is_empty());
        assert_eq!(suite.attributes["timestamp"].len(), "2026-11-21T12:00:00".len());
        assert!(!suite.attributes.contains_key("hostname"));
        let cases: Vec<&Element> = suite.children.iter().filter(|child| child.name == "testcase").collect();
        assert!(suite.children.iter().all(|child| ["testcase", "system-out"].contains(&child.name.as_str())));
        for case in &cases {
            assert!(!case.attributes["name"].is_empty() && !case.attributes["classname"].is_empty());
            assert!(case.children.len() <= 1, "one ending");
            for ending in &case.children {
                let keys: Vec<&str> = ending.attributes.keys().map(String::as_str).collect();
                match ending.name.as_str() {
                    "failure" | "error" => assert_eq!(keys, ["message", "type"]),
                    "skipped" => assert_eq!(keys, ["message"]),
                    other => panic!("{other}"),
                }
            }
        }
        let ended = |name: &str| cases.iter().filter(|case| case.children.iter().any(|end| end.name == name)).count();
        let counts = [
            ("tests", cases.len()),
            ("failures", ended("failure")),
            ("errors", ended("error")),
            ("skipped", ended("skipped")),
        ];
        for (name, n) in counts {
            assert_eq!(suite.attributes[name], n.to_string(), "{name}");
            *sums.entry(name).or_insert(0) += n;
        }
    }
    let allowed = ["name", "tests", "failures", "errors"];
    assert!(root.attributes.keys().all(|key| allowed.contains(&key.as_str())), "{:?}", root.attributes);
    sums.remove("skipped");
    for (name, n) in sums {
        assert_eq!(root.attributes[name], n.to_string(), "{name} of all suites");
    }
    root
}

fn ending<'a>(root: &'a Element, name: &str) -> Option<&'a Element> {
    let case = root
        .children
        .iter()
        .flat_map(|suite| &suite.children)
        .find(|case| case.attributes.get("name") == Some(&name.into()));
    case.unwrap_or_else(|| panic!("no case {name}")).children.first()
}

#[test]
fn junit_has_a_case_for_every_file_that_ends_as_the_run_does() {
    let random: Vec<u8> = (0..200u8).map(|i| i.wrapping_mul(97) | 0x80).collect();
    let odd = "a\"<b>&'c\u{1b}.pkl";
    let directory = scan::folder(&[(odd, scan::SYSTEM), ("good.pkl", scan::HARMLESS), ("what.bin", &random)]);
    let run = casemate(directory.path(), &["scan", ".", "-o", "report.xml", "-q"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    let root = junit(&std::fs::read_to_string(directory.path().join("report.xml")).unwrap());
    let bad = ending(&root, "a\"<b>&'c\\u{1b}.pkl").unwrap();
    assert_eq!((bad.name.as_str(), bad.attributes["type"].as_str()), ("failure", "pickle-unsafe-global"));
    assert!(bad.text.contains("critical pickle-unsafe-global at ") && bad.text.contains("byte 2"), "{}", bad.text);
    assert!(ending(&root, "good.pkl").is_none());
    assert_eq!(ending(&root, "what.bin").unwrap().name, "error");
    assert!(ending(&root, "everything was looked at").is_none());
    let lenient = casemate(directory.path(), &["scan", "good.pkl", "--fail-on", "low", "--format", "junit"]);
    assert_eq!(ending(&junit(&lenient.stdout), "good.pkl").unwrap().attributes["type"], "unsafe-format");
}

#[test]
fn junit_is_never_all_green_when_nothing_was_looked_at() {
    let directory = scan::folder(&[]);
    let run = casemate(directory.path(), &["scan", ".", "--format", "junit"]);
    assert_eq!(run.code, 3);
    assert_eq!(ending(&junit(&run.stdout), "everything was looked at").unwrap().name, "error");
}

#[test]
fn a_check_brings_the_requirements_of_the_gate_as_cases() {
    let trojaned = super::example("trojaned");
    let run = casemate(trojaned.path(), &["check", "--format", "junit"]);
    assert_eq!(run.code, 1);
    let root = junit(&run.stdout);
    let gate = &root.children[1];
    assert_eq!(gate.attributes["name"], "casemate check: gate merge");
    assert!(gate.attributes["failures"] != "0", "{gate:?}");
    let github = casemate(trojaned.path(), &["check", "--format", "github"]).stdout;
    assert!(github.lines().any(|line| line.starts_with("::error title=gate%3A ")), "{github}");
}

#[test]
fn annotations_name_the_file_and_no_name_can_give_a_command() {
    let directory = scan::folder(&[("a,b%0A::error file=x.pkl", scan::SYSTEM), ("good.pkl", scan::HARMLESS)]);
    let run = casemate(directory.path(), &["scan", ".", "--format", "github"]);
    assert_eq!(run.code, 1);
    for line in run.stdout.lines() {
        let (head, message) = line.strip_prefix("::").unwrap().split_once("::").unwrap();
        let (level, properties) = head.split_once(' ').unwrap();
        assert!(["error", "warning", "notice"].contains(&level), "{line}");
        for property in properties.split(',') {
            let (key, value) = property.split_once('=').unwrap();
            assert!(["file", "line", "title"].contains(&key) && !value.contains(':'), "{line}");
        }
        assert!(!message.contains(['\r', '\n']));
    }
    let first = run.stdout.lines().next().unwrap();
    assert!(
        first.starts_with("::error file=a%2Cb%250A%3A%3Aerror file=x.pkl,title=pickle-unsafe-global (critical)::"),
        "{first}"
    );
    assert!(
        run.stdout.lines().last().unwrap().starts_with("::notice title=casemate scan%3A fail::2 files"),
        "{}",
        run.stdout
    );
}

#[test]
fn sarif_keeps_its_fingerprints_elsewhere_and_says_nothing_of_the_machine() {
    let here = scan::folder(&[]);
    let there = scan::folder(&[]);
    let mut logs = Vec::new();
    for directory in [&here, &there] {
        let models = directory.path().join("models");
        std::fs::create_dir_all(models.join(".git")).unwrap();
        std::fs::write(models.join("bad.pkl"), scan::SYSTEM).unwrap();
        std::fs::write(models.join("cut.pkl"), &scan::HARMLESS[..scan::HARMLESS.len() - 3]).unwrap();
        logs.push(casemate(directory.path(), &["scan", "models", "--format", "sarif"]).stdout);
    }
    let prints = |log: &str| -> Vec<String> {
        let log: serde_json::Value = serde_json::from_str(log).unwrap();
        let results = log["runs"][0]["results"].as_array().unwrap().clone();
        results.iter().map(|result| result["partialFingerprints"].to_string()).collect()
    };
    assert!(!prints(&logs[0]).is_empty());
    assert_eq!(prints(&logs[0]), prints(&logs[1]));
    // An absolute path is what a careless pipeline passes.
    let absolute = here.path().join("models");
    for format in ["sarif", "junit", "github"] {
        let scan = ["scan", absolute.to_str().unwrap(), "--exclude", "cut.pkl", "--format", format];
        let log = casemate(here.path(), &scan).stdout;
        assert!(log.contains("left out on request") && log.contains(".git (history"), "{log}");
        logs.push(log);
    }
    let mut machine = vec![here.path().display().to_string(), there.path().display().to_string()];
    machine.push(super::repository().canonicalize().unwrap().display().to_string());
    machine.extend(["HOSTNAME", "USER", "HOME"].iter().filter_map(|name| std::env::var(name).ok()));
    machine.extend(std::fs::read_to_string("/etc/hostname").ok().map(|name| name.trim().to_owned()));
    // A short name such as `ada` may be part of a word.
    for word in machine.iter().filter(|word| word.len() > 4) {
        assert!(logs.iter().all(|log| !log.contains(word.as_str())), "{word}");
    }
}
