//! Servers that keep to the rules: what is read, how much of it, and what is said about it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::server::{Asked, Content, Reply, Server, ranged};
use super::{measured, safetensors, scan};

const SYSTEM: &[u8] = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.";

fn sparse(head: &[u8], size: u64) -> Content {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(head).unwrap();
    file.set_len(size).unwrap();
    Content::Sparse(Arc::new(file), size)
}

#[test]
fn files_over_http_are_judged_like_files_on_disk() {
    for (bytes, verdict, code) in [
        (SYSTEM.to_vec(), "malicious", 1),
        (safetensors(300_000), "clean", 0),
        (vec![0xc1; 500_000], "unscannable", 3),
        (Vec::new(), "clean", 0),
    ] {
        let server = Server::of_bytes(bytes.clone());
        let run = scan(&[&format!("{}/dir/a%20model.bin?signature=hunter2", server.url)], &[]);
        assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
        let report = run.json();
        let artifact = &report["artifacts"][0];
        assert_eq!(artifact["verdict"], verdict);
        assert_eq!(artifact["size"], bytes.len());
        assert_eq!(artifact["digest"], serde_json::Value::Null, "nothing was hashed");
        assert_eq!(artifact["path"], format!("{}/dir/a model.bin", server.url));
        assert!(!run.stdout.contains("hunter2"), "a query may be a signature");
        let on_disk = tempfile::tempdir().unwrap();
        std::fs::write(on_disk.path().join("model.bin"), &bytes).unwrap();
        let local = super::super::casemate(on_disk.path(), &["scan", "model.bin", "--format", "json"]);
        assert_eq!(local.json()["artifacts"][0]["verdict"], verdict);
    }
}

#[test]
fn hashing_is_asked_for_and_reads_everything() {
    let bytes = safetensors(3_000_000);
    let server = Server::of_bytes(bytes.clone());
    let run = scan(&["--hash", &format!("{}/m.safetensors", server.url)], &[]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let report = run.json();
    let digest = casemate_provenance::sha256(&bytes).to_string();
    assert_eq!(report["artifacts"][0]["digest"]["sha256"], digest);
    assert!(measured(&report, "bytes_fetched") >= bytes.len() as f64);
    let schema = super::super::casemate(std::path::Path::new("."), &["schema", "report"]).json();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&report), "{report}");
}

/// A hub with `files`, that sends readers of files elsewhere, as hubs do.
fn hub(files: BTreeMap<String, Content>) -> Server {
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    Server::start(move |asked: &Asked| {
        if asked.path == "/api/models/org/model/revision/main" {
            let siblings: Vec<_> = files
                .iter()
                .map(|(name, content)| serde_json::json!({"rfilename": name, "size": content.size()}))
                .collect();
            let listing = serde_json::json!({"id": "org/model", "sha": COMMIT, "siblings": siblings});
            return Reply::new(200, &[], listing.to_string());
        }
        if let Some(name) = asked.path.strip_prefix(&format!("/org/model/resolve/{COMMIT}/")) {
            return Reply::new(302, &[("location", &format!("/cdn/{name}?Signature=s"))], Vec::new());
        }
        let found = asked.path.strip_prefix("/cdn/").and_then(|name| files.get(name));
        found.map_or_else(|| Reply::new(404, &[], "no"), |content| ranged(asked, content, "\"v\""))
    })
}

#[test]
fn seventy_gigabytes_of_a_hub_are_judged_from_less_than_eight_megabytes() {
    const SHARDS: usize = 15;
    const SHARD_BYTES: u64 = 4_700_000_000;
    let mut files = BTreeMap::new();
    let mut map = serde_json::Map::new();
    for shard in 1..=SHARDS {
        // As in a real shard: a layer's matrices, one after the other, to the last byte.
        let tensors = 60_u64;
        let each = SHARD_BYTES / tensors / 2 * 2;
        let header: serde_json::Map<_, _> = (0..tensors)
            .map(|i| {
                let name = format!("model.layers.{shard}.block.{i}.weight");
                map.insert(name.clone(), format!("model-{shard:05}-of-{SHARDS:05}.safetensors").into());
                let place = [i * each, (i + 1) * each];
                (name, serde_json::json!({"dtype": "BF16", "shape": [each / 2], "data_offsets": place}))
            })
            .collect();
        let json = serde_json::Value::from(header).to_string();
        let json = format!("{json:width$}", width = json.len().next_multiple_of(8));
        let head = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat();
        let size = head.len() as u64 + each * tensors;
        files.insert(format!("model-{shard:05}-of-{SHARDS:05}.safetensors"), sparse(&head, size));
    }
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string();
    files.insert("model.safetensors.index.json".into(), Content::Bytes(Arc::new(index.into_bytes())));
    let total: u64 = files.values().map(Content::size).sum();
    assert!(total > 70_000_000_000);
    let server = hub(files);
    let run = scan(&["hf://org/model"], &[("HF_ENDPOINT", &server.url)]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let report = run.json();
    assert_eq!(report["artifacts"].as_array().unwrap().len(), SHARDS + 1);
    assert_eq!(report["artifacts"][0]["format"], "safetensors");
    assert_eq!(report["artifacts"][0]["tensors"], 60);
    let sent = server.sent.load(Relaxed);
    println!("{total} bytes judged from {sent} sent, {} requests", server.asked().len());
    assert!(sent < 8_000_000, "{sent}");
    let fetched = measured(&report, "bytes_fetched");
    assert!(fetched <= sent as f64 && fetched > 0.0, "{fetched} of {sent}");
    assert_eq!(measured(&report, "bytes_judged"), total as f64);
    let each: u64 = report["artifacts"].as_array().unwrap().iter().map(|a| a["bytes_fetched"].as_u64().unwrap()).sum();
    assert_eq!(each as f64, fetched);
}

/// A torch archive: the pickle, then `storages` stored members of `bytes` zeros each; only head and tail hold anything.
fn torch_archive(file: &File, storages: u64, bytes: u64) -> u64 {
    use std::os::unix::fs::FileExt;
    let mut at = 0;
    let mut central = Vec::new();
    let mut pickle = b"\x80\x02ccollections\nOrderedDict\n)R".to_vec();
    pickle.push(b'.');
    let mut members: Vec<(String, u64)> = vec![("archive/data.pkl".into(), pickle.len() as u64)];
    members.extend((0..storages).map(|i| (format!("archive/data/{i}"), bytes)));
    for (name, size) in members {
        let content: &[u8] = if name.ends_with(".pkl") { &pickle } else { &[] };
        let crc: u32 = if content.is_empty() { crc_of_zeros(size) } else { crc32(content) };
        let size32 = u32::try_from(size).unwrap();
        let fixed = [&crc.to_le_bytes()[..], &size32.to_le_bytes(), &size32.to_le_bytes()].concat();
        let name_length = u16::try_from(name.len()).unwrap().to_le_bytes();
        let local = [&b"PK\x03\x04\x0a\0\0\0\0\0\0\0\0\0"[..], &fixed, &name_length, &[0, 0], name.as_bytes()].concat();
        file.write_all_at(&local, at).unwrap();
        let data = at + local.len() as u64;
        file.write_all_at(content, data).unwrap();
        let offset = u32::try_from(at).unwrap().to_le_bytes();
        central
            .extend([&b"PK\x01\x02\x0a\0\x0a\0\0\0\0\0\0\0\0\0"[..], &fixed, &name_length, &[0; 12], &offset].concat());
        central.extend(name.as_bytes());
        at = data + size;
    }
    let count = u16::try_from(storages + 1).unwrap().to_le_bytes();
    let central_size = u32::try_from(central.len()).unwrap().to_le_bytes();
    let offset = u32::try_from(at).unwrap().to_le_bytes();
    let end = [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &central_size, &offset, &[0, 0]].concat();
    file.write_all_at(&central, at).unwrap();
    file.write_all_at(&end, at + central.len() as u64).unwrap();
    at + central.len() as u64 + end.len() as u64
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| crc_byte(crc, *byte))
}

/// Nobody reads the storages, so nobody can compare.
fn crc_of_zeros(size: u64) -> u32 {
    crc32(&size.to_le_bytes())
}

fn crc_byte(crc: u32, byte: u8) -> u32 {
    (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
}

#[test]
fn of_a_torch_archive_of_gigabytes_only_head_tail_and_ends_of_members_are_fetched() {
    let file = tempfile::tempfile().unwrap();
    let size = torch_archive(&file, 8, 400_000_000);
    assert!(size > 3_000_000_000);
    let server = Server::of(Content::Sparse(Arc::new(file), size));
    let run = scan(&[&format!("{}/pytorch_model.bin", server.url)], &[]);
    let report = run.json();
    assert_eq!(report["artifacts"][0]["verdict"], "clean", "{}", run.stdout);
    assert_eq!(report["artifacts"][0]["objects"]["pickle"], 1, "{}", run.stdout);
    let fetched = measured(&report, "bytes_fetched");
    println!("{size} bytes judged from {fetched} in {} requests", server.asked().len());
    assert!(fetched < 4_000_000.0, "{fetched}");
}

#[test]
fn a_hub_page_is_its_repository_and_the_token_goes_to_the_hub_alone() {
    let other = Server::of_bytes(safetensors(500_000));
    let target = format!("{}/blob", other.url);
    let hub = Server::start(move |asked| match asked.path.as_str() {
        "/api/models/org/model/revision/v1" => {
            let sha = "a".repeat(40);
            Reply::new(200, &[], format!(r#"{{"sha":"{sha}","siblings":[{{"rfilename":"sub/m.safetensors"}}]}}"#))
        }
        "/api/models/org/none/revision/main" => Reply::new(404, &[], "no"),
        _ => Reply::new(302, &[("location", &target)], Vec::new()),
    });
    let environment = [("HF_ENDPOINT", hub.url.as_str()), ("HF_TOKEN", "hf_hunter2")];
    for address in ["hf://org/model@v1".to_owned(), format!("{}/org/model/tree/v1", hub.url)] {
        let run = scan(&[&address], &environment);
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        assert_eq!(run.json()["artifacts"][0]["path"], "hf://org/model/sub/m.safetensors");
        assert!(!run.stdout.contains("hunter2") && !run.stderr.contains("hunter2"));
    }
    assert!(hub.asked().iter().all(|asked| asked.headers["authorization"] == "Bearer hf_hunter2"));
    assert!(other.asked().iter().all(|asked| !asked.headers.contains_key("authorization")));
    let missing = scan(&["hf://org/none"], &environment);
    missing.is_one_clear_error(3, &["HF_TOKEN"]);
}

#[test]
fn small_files_come_whole_from_servers_without_ranges() {
    let bytes = SYSTEM.to_vec();
    let server = Server::start(move |_| Reply::new(200, &[], bytes.clone()));
    assert_eq!(scan(&[&format!("{}/m.pkl", server.url)], &[]).code, 1);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn several_addresses_and_paths_are_one_report() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/bad.pkl" => ranged(asked, &Content::Bytes(Arc::new(SYSTEM.to_vec())), "\"v\""),
        _ => Reply::new(404, &[], "no"),
    });
    let run = scan(&[&format!("{}/bad.pkl", server.url), &format!("{}/none.pkl", server.url)], &[]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    let report = run.json();
    assert_eq!(report["summary"]["malicious"], 1);
    assert_eq!(report["summary"]["unscannable"], 1);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), SYSTEM).unwrap();
    for address in [format!("{}/none.pkl", server.url), "oci:nowhere".into(), "hf://org/none".into()] {
        let run = scan(&[file.path().to_str().unwrap(), &address], &[("HF_ENDPOINT", &server.url)]);
        assert_eq!(run.code, 1, "what was judged is not lost: {}", run.stderr);
        assert_eq!(run.json()["summary"]["unscannable"], 1, "{address}");
    }
}

#[test]
fn a_bucket_is_listed_page_by_page_and_without_a_key_anonymously() {
    let model = Arc::new(safetensors(1000));
    let size = model.len();
    let bucket = Server::start(move |asked| {
        assert!(!asked.headers.contains_key("authorization"));
        if asked.path != "/models/" {
            return ranged(asked, &Content::Bytes(Arc::clone(&model)), "\"x\"");
        }
        let is_second = asked.query.contains("continuation-token=1%2F%3C%3D%3D");
        let keys = if is_second { ["a/3", "a/4"] } else { ["a/1", "a/"] };
        let sizes = if is_second { [size, size] } else { [size, 0] };
        let contents: String = keys
            .iter()
            .zip(sizes)
            .map(|(key, size)| format!("<Contents><Key>{key}</Key><Size>{size}</Size></Contents>"))
            .collect();
        let more = match is_second {
            true => "<IsTruncated>false</IsTruncated>",
            false => "<IsTruncated>true</IsTruncated><NextContinuationToken>1/&lt;==</NextContinuationToken>",
        };
        Reply::new(200, &[], format!("<ListBucketResult xmlns=\"x\">{more}{contents}</ListBucketResult>"))
    });
    let run = scan(&["s3://models/a"], &[("AWS_ENDPOINT_URL", &bucket.url)]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let report = run.json();
    let paths: Vec<_> =
        report["artifacts"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["s3://models/a/1", "s3://models/a/3", "s3://models/a/4"]);

    let endless = Server::start(|_| {
        let page = "<IsTruncated>true</IsTruncated><NextContinuationToken>same</NextContinuationToken>";
        Reply::new(200, &[], format!("<ListBucketResult>{page}</ListBucketResult>"))
    });
    scan(&["s3://models"], &[("AWS_ENDPOINT_URL", &endless.url)]).is_one_clear_error(3, &["breaks off"]);
    let closed = Server::start(|_| Reply::new(403, &[], ""));
    scan(&["s3://models"], &[("AWS_ENDPOINT_URL", &closed.url)]).is_one_clear_error(3, &["without credentials"]);
    let elsewhere = Server::start(|_| Reply::new(301, &[("x-amz-bucket-region", "eu-west-3")], ""));
    scan(&["s3://models"], &[("AWS_ENDPOINT_URL", &elsewhere.url)]).is_one_clear_error(3, &["AWS_REGION=eu-west-3"]);
    scan(&["s3://models"], &[("AWS_ENDPOINT_URL", "http://10.0.0.1:9")]).is_one_clear_error(3, &["--allow-http"]);
}

#[test]
fn a_redirect_whose_target_expires_is_followed_anew() {
    let content = Content::Bytes(Arc::new(safetensors(20_000_000)));
    let uses = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |asked| {
        let current = format!("/signed/{}", uses.load(Relaxed));
        match asked.path.as_str() {
            "/m.safetensors" => Reply::new(302, &[("location", &current)], ""),
            path if path == current => {
                uses.fetch_add(1, Relaxed);
                ranged(asked, &content, "\"x\"")
            }
            _ => Reply::new(403, &[], "expired"),
        }
    });
    let run = scan(&[&format!("{}/m.safetensors", server.url)], &[]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
}
