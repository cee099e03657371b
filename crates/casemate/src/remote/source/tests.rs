//! Reading in any order gives the bytes of the file, within the blocks that are kept, before and after hashing.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use casemate_core::SourceExt as _;
use proptest::prelude::*;

use super::super::client::ClientSettings;
use super::*;

/// Serves `content` by ranges on this machine; one connection after the other.
fn serve(content: Vec<u8>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}/file", listener.local_addr().unwrap())).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut range = String::new();
            while let Some(Ok(line)) = lines.next() {
                if let Some(asked) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                    range = asked.to_owned();
                }
                if !line.is_empty() {
                    continue;
                }
                let (from, last) = range.split_once('-').unwrap();
                let from: usize = from.parse().unwrap();
                let to = (last.parse::<usize>().unwrap() + 1).min(content.len());
                let (last, size, length) = (to - 1, content.len(), to - from);
                let head = format!(
                    "HTTP/1.1 206 X\r\ncontent-range: bytes {from}-{last}/{size}\r\ncontent-length: {length}\r\netag: \"a\"\r\n\r\n"
                );
                let sent = (&stream).write_all(head.as_bytes()).and_then(|()| (&stream).write_all(&content[from..to]));
                if sent.is_err() {
                    break;
                }
            }
        }
    });
    url
}

fn open(url: Url) -> RemoteSource {
    let settings = ClientSettings { allow_http: false, timeout: Duration::from_secs(20) };
    let authorization = Authorization::None;
    let remote = Remote { url, authorization, size_bytes: None, sha256: None, is_immutable: false };
    RemoteSource::open(Arc::new(Client::new(settings)), remote).unwrap()
}

fn content(n: usize) -> Vec<u8> {
    (0..n).map(|i| u8::try_from(i / 7 % 251).unwrap()).collect()
}

#[test]
fn reading_a_file_through_keeps_no_more_than_the_blocks_that_may_be_kept() {
    let bytes = content(20_000_003);
    let source = open(serve(bytes.clone()));
    let mut at = 0;
    while at < bytes.len() {
        let read = source.bytes_at(at as u64, 100_000).unwrap();
        assert!(read == bytes[at..(at + 100_000).min(bytes.len())], "{at}");
        at += read.len();
        let blocks = lock(&source.blocks);
        assert!(blocks.held.len() <= BLOCKS_MAX && blocks.by_use.len() == blocks.held.len());
    }
    assert!(source.bytes_fetched() < bytes.len() as u64 + 100, "{}", source.bytes_fetched());
    // Sixteen kibibytes twice as far each time, then two mebibytes at once.
    assert!(source.client.requests() < 25, "{}", source.client.requests());
    assert_eq!(source.read_at(bytes.len() as u64, &mut [0; 9]).unwrap(), 0);
    assert_eq!(source.read_at(u64::MAX, &mut [0; 9]).unwrap(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_order_of_reading_gives_the_bytes_of_the_file(
        size in 1_usize..5_000_000,
        places in prop::collection::vec((0.0_f64..1.0, 0_u64..200_000), 1..40),
    ) {
        let bytes = content(size);
        let source = open(serve(bytes.clone()));
        for is_hashed in [false, true] {
            if is_hashed {
                prop_assert_eq!(source.hash().unwrap(), sha256(&bytes));
            }
            for (share, length) in &places {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place inside")]
                let from = (size as f64 * share) as usize;
                let to = (from + usize::try_from(*length).unwrap()).min(size);
                prop_assert!(source.bytes_at(from as u64, *length).unwrap() == bytes[from..to], "{}..{}", from, to);
            }
        }
        prop_assert_eq!(source.failure(), None);
    }
}
