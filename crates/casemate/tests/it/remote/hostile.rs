//! Servers that break one rule each: nothing they do may look like a clean file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::server::{Asked, Body, Content, Reply, Server, ranged};
use super::{Run, quiet_command, safetensors, scan};

/// A safetensors file whose tail has to be fetched after its head.
fn content() -> Content {
    Content::Bytes(Arc::new(safetensors(20_000_000)))
}

/// Scans what a server gives that answers the first request well, and the later ones as `later` makes them.
fn after_the_first(later: impl Fn(&Asked, Reply) -> Reply + Send + Sync + 'static) -> Run {
    let content = content();
    let server = Server::start(move |asked| {
        let reply = ranged(asked, &content, "\"v1\"");
        if asked.range().is_some_and(|(from, _)| from == 0) { reply } else { later(asked, reply) }
    });
    scan(&[&format!("{}/m.safetensors", server.url), "--timeout", "1"], &[])
}

fn is_unscannable(run: &Run, mentions: &str) {
    assert_eq!(run.code, 3, "{}{}", run.stdout, run.stderr);
    let report = run.json();
    assert_eq!(report["artifacts"][0]["verdict"], "unscannable", "{}", run.stdout);
    assert_eq!(report["outcome"], "unknown");
    assert!(run.stdout.contains(mentions), "{mentions:?} in {}", run.stdout);
}

#[test]
fn the_file_is_clean_when_nothing_is_wrong() {
    assert_eq!(after_the_first(|_, reply| reply).code, 0);
}

#[test]
fn a_file_that_changes_is_noticed_by_its_tag_its_size_or_the_refusal_of_the_range() {
    is_unscannable(&after_the_first(|_, reply| reply.set("etag", "\"v2\"")), "changed while it was read");
    is_unscannable(&after_the_first(|_, reply| reply.without("etag")), "changed while it was read");
    is_unscannable(&after_the_first(|_, _| Reply::new(412, &[], "")), "changed while it was read");
    let other = after_the_first(|_, _| Reply::with_body(200, &[("etag", "\"v2\"")], Body::Bytes(vec![0; 1000])));
    is_unscannable(&other, "changed while it was read");
    let longer = after_the_first(|asked, reply| {
        let (from, to) = asked.range().unwrap();
        reply.set("content-range", &format!("bytes {from}-{}/30000000", to - 1))
    });
    is_unscannable(&longer, "changed while it was read");
}

#[test]
fn ranges_that_lie_are_not_believed() {
    let shifted = after_the_first(|asked, reply| {
        let (from, to) = asked.range().unwrap();
        let size = content().size();
        reply.set("content-range", &format!("bytes {}-{}/{size}", from - 1, to.min(size) - 2))
    });
    is_unscannable(&shifted, "does not fit what was asked");
    for range in ["bytes 0-1", "bytes 5-4/10", "bytes -1-5/9", "bytes 99999999999999999999-1/2", "chunks 0-1/2"] {
        let run = after_the_first(move |_, reply| reply.set("content-range", range));
        is_unscannable(&run, "does not fit what was asked");
    }
    is_unscannable(&after_the_first(|_, reply| reply.without("content-range")), "does not fit what was asked");
    let whole = after_the_first(|_, _| Reply::with_body(200, &[("etag", "\"v1\"")], Body::Bytes(vec![0; 100])));
    is_unscannable(&whole, "whole file instead of a part");
}

#[test]
fn bodies_of_another_length_than_the_range_are_refused() {
    let short = after_the_first(|_, mut reply| {
        let Body::Bytes(bytes) = &mut reply.body else { unreachable!() };
        bytes.truncate(100);
        reply
    });
    is_unscannable(&short, "cannot be read");
    let short_and_said = after_the_first(|_, reply| Reply { body: Body::Bytes(vec![0; 7]), length: Some(7), ..reply });
    is_unscannable(&short_and_said, "7 bytes announced");
    let short_unsaid = after_the_first(|_, reply| Reply { body: Body::Bytes(vec![0; 7]), length: None, ..reply });
    is_unscannable(&short_unsaid, "7 bytes came");
    let endless = after_the_first(|_, reply| Reply { body: Body::Endless, length: None, ..reply });
    is_unscannable(&endless, "more bytes than");
}

#[test]
fn a_connection_that_breaks_off_is_tried_again() {
    let tries = AtomicUsize::new(0);
    let run = after_the_first(move |_, mut reply| {
        let Body::Bytes(bytes) = &mut reply.body else { unreachable!() };
        if tries.fetch_add(1, Relaxed) == 0 {
            bytes.truncate(100);
        }
        reply
    });
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
}

#[test]
fn slow_servers_are_given_up() {
    let started = Instant::now();
    let stalled = after_the_first(|_, reply| Reply { body: Body::Stalled(vec![0; 9]), ..reply });
    is_unscannable(&stalled, "within 1 s");
    assert!(started.elapsed() < Duration::from_secs(120), "{:?}", started.elapsed());
}

#[test]
fn encoded_bodies_are_refused() {
    is_unscannable(&after_the_first(|_, reply| reply.set("content-encoding", "gzip")), "content-encoding `gzip`");
}

#[test]
fn failures_of_the_server_in_the_middle_are_reported_after_a_few_tries() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let run = after_the_first(move |_, _| {
        counted.fetch_add(1, Relaxed);
        Reply::new(503, &[], "busy")
    });
    is_unscannable(&run, "503");
    assert_eq!(tries.load(Relaxed), 4);
    let flaky = AtomicUsize::new(0);
    let run = after_the_first(move |_, reply| match flaky.fetch_add(1, Relaxed) {
        0 => Reply::new(503, &[], "busy"),
        _ => reply,
    });
    assert_eq!(run.code, 0, "{}", run.stdout);
}

/// The one line of a run that could not even open the only address.
fn refused(server: &Server, mentions: &[&str]) {
    let run = scan(&[&format!("{}/m.bin?signature=hunter2", server.url), "--timeout", "1"], &[]);
    run.is_one_clear_error(3, mentions);
    assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
}

#[test]
fn large_files_without_ranges_are_refused_before_they_are_read() {
    let server = Server::start(|_| Reply { length: Some(9 << 30), ..Reply::with_body(200, &[], Body::Endless) });
    refused(&server, &["whole files only", "9663676416 bytes", "download"]);
    let unsaid = Server::start(|_| Reply { length: None, ..Reply::with_body(200, &[], Body::Endless) });
    refused(&unsaid, &["whole files only"]);
    assert!(unsaid.sent.load(Relaxed) < 32 << 20);
}

#[test]
fn files_in_parts_without_a_version_are_refused() {
    let content = content();
    let server = Server::start(move |asked| ranged(asked, &content, "x").without("etag"));
    refused(&server, &["neither ETag nor Last-Modified"]);
    let content = self::content();
    let dated = Server::start(move |asked| {
        ranged(asked, &content, "Sat, 21 Nov 2026 12:00:00 GMT")
            .without("etag")
            .set("last-modified", "Sat, 21 Nov 2026 12:00:00 GMT")
    });
    assert_eq!(scan(&[&format!("{}/m.safetensors", dated.url)], &[]).code, 0);
}

#[test]
fn first_answers_that_make_no_sense_are_refused() {
    for (reply, mention) in [
        (Reply::new(206, &[], "x"), "does not fit"),
        (Reply::new(206, &[("content-range", "bytes 0-0/*")], "x"), "does not fit"),
        (Reply::new(206, &[("content-range", "bytes 5-5/9")], "x"), "does not fit"),
        (Reply::new(204, &[], ""), "204"),
        (Reply::new(401, &[], ""), "not authenticated"),
        (Reply::new(403, &[], ""), "refused"),
        (Reply::new(404, &[], ""), "not found"),
        (Reply::new(200, &[("content-encoding", "gzip")], "x"), "content-encoding"),
    ] {
        let (status, headers, Body::Bytes(body)) = (reply.status, reply.headers, reply.body) else { unreachable!() };
        let server = Server::start(move |_| {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            Reply::new(status, &headers, body.clone())
        });
        refused(&server, &[mention]);
    }
}

#[test]
fn redirects_are_few_and_lead_nowhere_else_than_to_web_servers() {
    let server = Server::start(|asked| Reply::new(302, &[("location", &format!("{}x", asked.path))], ""));
    refused(&server, &["redirects", "more than 5 times"]);
    assert_eq!(server.asked().len(), 6);
    for target in ["file:///etc/passwd", "ftp://h/x", "http://user:password@127.0.0.1/", "gopher:x"] {
        let server = Server::start(move |_| Reply::new(302, &[("location", target)], ""));
        refused(&server, &["redirects"]);
    }
    let server = Server::start(|_| Reply::new(302, &[("location", "http://203.0.113.7/x")], ""));
    refused(&server, &["not encrypted"]);
}

#[test]
fn addresses_are_read_strictly() {
    for (address, mention) in [
        ("ftp://host/x", "https://, http://, s3://, oci://, hf://"),
        ("https://me:hunter2@host/x", "user name"),
        ("https:///x", "no host"),
        ("s3://b", "s3://BUCKET"),
        ("hf://repo", "hf://ORG/REPO"),
        ("oci://host/UPPER", "oci://REGISTRY"),
    ] {
        let run = scan(&[address], &[]);
        run.is_one_clear_error(2, &[mention]);
        assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
    }
    scan(&["http://example.org/x"], &[]).is_one_clear_error(3, &["--allow-http"]);
    scan(&["http://10.0.0.1:9/x"], &[]).is_one_clear_error(3, &["--allow-http"]);
    scan(&["https://no-such-host.invalid/x", "--timeout", "5"], &[])
        .is_one_clear_error(3, &["no-such-host.invalid", "name server"]);
    // Bound and let go, so that nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    scan(&[&format!("http://127.0.0.1:{port}/x")], &[]).is_one_clear_error(3, &["server runs"]);
}

#[test]
fn bytes_that_were_hashed_are_the_bytes_that_are_judged() {
    // Hashing reads in order; afterwards this server gives another file of the same size and the same tag.
    let clean = content();
    let other = Content::Bytes(Arc::new(vec![b'x'; usize::try_from(clean.size()).unwrap()]));
    let is_read = Arc::new(AtomicUsize::new(0));
    let server = Server::start(move |asked| {
        let (from, to) = asked.range().unwrap();
        let content = if is_read.load(Relaxed) > 0 { &other } else { &clean };
        if to >= content.size() && to - from > 1 {
            is_read.fetch_add(1, Relaxed);
        }
        ranged(asked, content, "\"v1\"")
    });
    let run = scan(&["--hash", &format!("{}/m.safetensors", server.url)], &[]);
    is_unscannable(&run, "other bytes than the ones that were hashed");
    assert_eq!(run.json()["artifacts"][0]["digest"], serde_json::Value::Null);
}

#[test]
fn ctrl_c_ends_a_scan_in_the_middle_of_a_slow_server() {
    let content = content();
    let server = Server::start(move |asked| {
        std::thread::sleep(Duration::from_millis(if asked.range().is_some_and(|(from, _)| from > 0) {
            1500
        } else {
            0
        }));
        ranged(asked, &content, "\"v1\"")
    });
    let directory = tempfile::tempdir().unwrap();
    let child = quiet_command(directory.path())
        .args(["scan", "--hash", "--format", "json", &format!("{}/m.safetensors", server.url)])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while server.asked().len() < 2 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let killed = std::process::Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(killed.success());
    let run: Run = child.wait_with_output().unwrap().into();
    assert_eq!(run.code, 3, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.json()["summary"]["incomplete"], true, "{}", run.stdout);
}
