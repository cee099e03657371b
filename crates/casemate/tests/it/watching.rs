//! `verify --watch`: what changes under it is told, by every way it was asked to tell.

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{casemate, command};

/// Longest wait for an event; the machine may be busy with other tests.
const WAIT: Duration = Duration::from_secs(60);

/// A watch under way.
struct Watch {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watch {
    fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut child = command(directory)
            .args(["verify", "--watch"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (send, lines) = channel();
        let out = child.stdout.take().unwrap();
        thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).for_each(|line| drop(send.send(line))));
        Self { child, lines }
    }

    fn event(&self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(WAIT).expect("an event in time")).unwrap()
    }

    /// The next event, which is of this state.
    fn expect(&self, state: &str) -> Value {
        let event = self.event();
        assert_eq!(event["state"], state, "{event}");
        event
    }

    /// Waits for the end; exit code and what was said on standard error.
    fn end(mut self) -> (i32, String) {
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < WAIT, "it ends");
            thread::sleep(Duration::from_millis(50));
        }
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code().unwrap(), said)
    }

    #[cfg(unix)]
    fn interrupt(&self) {
        let status = std::process::Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }
}

/// A project of two signed models, with a ledger.
fn project() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let run = |arguments: &[&str]| {
        let run = casemate(root, arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.stdout, run.stderr);
    };
    run(&["keygen", "-o", "release.pem"]);
    let mut configuration = "[trust]\nkeys = [\"release.pub.pem\"]\n".to_owned();
    for name in ["one", "two"] {
        fs::create_dir(root.join(name)).unwrap();
        fs::write(root.join(name).join("weights.bin"), name.repeat(1000)).unwrap();
        fs::write(root.join(name).join("config.json"), "{}").unwrap();
        let signature = format!("{name}.sig");
        run(&["sign", name, "--key", "release.pem", "--signature", &signature]);
        configuration += &format!("[[model]]\nname = \"{name}\"\npath = \"{name}\"\nsignature = \"{signature}\"\n");
    }
    fs::write(root.join("casemate.toml"), configuration).unwrap();
    run(&["init"]);
    directory
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[cfg(unix)]
#[test]
fn every_signed_model_is_watched_and_every_change_is_told_and_recorded() {
    let directory = project();
    let root = directory.path();
    let watch = Watch::start(root, &[]);
    let mut first = [watch.expect("intact")["model"].clone(), watch.expect("intact")["model"].clone()];
    first.sort_by_key(Value::to_string);
    assert_eq!(first, ["one", "two"]);
    flip(&root.join("one/weights.bin"));
    let event = watch.expect("altered");
    assert_eq!((&event["model"], &event["files"][0]["path"]), (&"one".into(), &"weights.bin".into()));
    assert!(event["files"][0]["expected"].as_str().unwrap().starts_with("sha256:"));
    assert_ne!(event["files"][0]["expected"], event["files"][0]["found"]);
    flip(&root.join("one/weights.bin"));
    assert_eq!(watch.expect("restored")["model"], "one");
    fs::rename(root.join("two.sig"), root.join("away")).unwrap();
    let event = watch.expect("unverifiable");
    assert!(event["model"] == "two" && event["reason"].as_str().unwrap().contains("two.sig"), "{event}");
    watch.interrupt();
    let (code, said) = watch.end();
    assert_eq!(code, 3, "a model is unverifiable in the end: {said}");
    let ledger = casemate(root, &["ledger", "show", "--format", "json"]);
    assert_eq!(ledger.stdout.matches("provenance.integrity-event").count(), 5, "{}", ledger.stdout);
    assert_eq!(casemate(root, &["ledger", "verify"]).code, 0);
}

#[test]
fn until_the_first_alert_then_ends_as_verify_would() {
    let directory = project();
    let root = directory.path();
    let arguments =
        ["one", "--key", "release.pub.pem", "--signature", "one.sig", "--until-alert", "--events", "events.jsonl"];
    let watch = Watch::start(root, &arguments);
    let events = || fs::read_to_string(root.join("events.jsonl")).unwrap_or_default();
    let began = Instant::now();
    while !events().contains("intact") {
        assert!(began.elapsed() < WAIT);
        thread::sleep(Duration::from_millis(50));
    }
    fs::write(root.join("one/added.py"), "print()\n").unwrap();
    let (code, said) = watch.end();
    assert_eq!(code, 4, "{said}");
    let lines: Vec<Value> = events().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[1]["state"], &lines[1]["files"][0]["how"]), (&"altered".into(), &"added".into()));
    assert!(said.contains("model `one` is altered"), "{said}");
}

/// Answers the first request with 503 and every later one with 204; gives their bodies.
fn hook() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/hook", listener.local_addr().unwrap());
    let (send, bodies) = channel();
    thread::spawn(move || {
        for (n, stream) in listener.incoming().flatten().enumerate() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let status = if n == 0 { "503 Busy" } else { "204 Done" };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            (&stream).write_all(head.as_bytes()).unwrap();
            if n > 0 {
                let _ = send.send(String::from_utf8(body).unwrap());
            }
        }
    });
    (address, bodies)
}

#[cfg(unix)]
#[test]
fn commands_and_web_addresses_are_told_too_and_one_that_fails_holds_up_nobody() {
    let directory = project();
    let root = directory.path();
    let (address, bodies) = hook();
    let arguments = ["--webhook", &address, "--on-event", "cat >> told.jsonl", "--on-event", "exit 7", "--no-record"];
    let watch = Watch::start(root, &arguments);
    watch.expect("intact");
    watch.expect("intact");
    flip(&root.join("two/config.json"));
    watch.expect("altered");
    let posted: Vec<Value> =
        (0..3).map(|_| serde_json::from_str(&bodies.recv_timeout(WAIT).expect("tried again")).unwrap()).collect();
    assert_eq!(posted[2]["state"], "altered", "in the order they came, none lost to the 503");
    watch.interrupt();
    let (code, said) = watch.end();
    assert_eq!(code, 4);
    assert!(said.contains("`exit 7` did not take an event: it ended with"), "{said}");
    assert_eq!(fs::read_to_string(root.join("told.jsonl")).unwrap().lines().count(), 3);
    assert!(!casemate(root, &["ledger", "show"]).stdout.contains("integrity-event"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_log_and_a_ledger_that_cannot_be_written_are_said_and_watching_goes_on() {
    let directory = project();
    let root = directory.path();
    // A key that cannot be read makes every append fail, whoever runs the test.
    let key = root.join(".casemate/keys/evidence.pem");
    fs::rename(&key, root.join("key-away")).unwrap();
    let watch = Watch::start(root, &["--events", "/dev/full"]);
    // On standard output, since the file is full.
    watch.expect("intact");
    watch.expect("intact");
    flip(&root.join("one/config.json"));
    watch.expect("altered");
    fs::rename(root.join("key-away"), &key).unwrap();
    let began = Instant::now();
    while casemate(root, &["ledger", "show"]).stdout.matches("integrity-event").count() < 3 {
        assert!(began.elapsed() < WAIT, "what waited is recorded once that is possible");
        thread::sleep(Duration::from_millis(500));
    }
    watch.interrupt();
    let (_, said) = watch.end();
    assert!(said.contains("/dev/full") && said.contains("could not be recorded and are tried again"), "{said}");
    assert!(!said.contains("are not in the ledger"), "{said}");
}

#[test]
fn what_cannot_be_watched_is_said_at_once() {
    let directory = project();
    let root = directory.path();
    let error = |arguments: &[&str], code: i32, mention: &str| {
        casemate(root, &[&["verify", "--watch"], arguments].concat()).is_one_clear_error(code, &[mention]);
    };
    error(&["one"], 2, "--key");
    error(&["--key", "release.pub.pem"], 2, "MODEL");
    error(&["one", "--key", "none.pem"], 3, "none.pem");
    error(&["--webhook", "http://example.org/"], 2, "https://");
    error(&["--events", "none/events"], 3, "none/events");
    error(&["-o", "events"], 2, "--events");
    let outside = tempfile::tempdir().unwrap();
    casemate(outside.path(), &["verify", "--watch"]).is_one_clear_error(2, &["names a `signature`"]);
    assert_eq!(casemate(root, &["verify", "--until-alert", "one", "--key", "release.pub.pem"]).code, 2);
    assert_eq!(casemate(root, &["verify"]).code, 2);
}
