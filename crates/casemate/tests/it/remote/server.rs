//! An HTTP/1.1 server on this machine: serves bytes or sparse files by ranges, or answers as a test tells it to.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

/// What is sent after the head of an answer.
pub enum Body {
    Bytes(Vec<u8>),
    Stretch(Arc<File>, u64, u64),
    /// Bytes without end.
    Endless,
    /// These bytes, and then nothing, the connection left open.
    Stalled(Vec<u8>),
}

/// An answer.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
    /// Announce this length, whatever the body's is; none leaves it out and closes in the end.
    pub length: Option<u64>,
}

/// What lies on the server.
#[derive(Clone)]
pub enum Content {
    Bytes(Arc<Vec<u8>>),
    Sparse(Arc<File>, u64),
}

pub struct Server {
    pub url: String,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    pub sent: Arc<AtomicU64>,
}

impl Server {
    /// Answers every request by `handler`, each connection on a thread of its own.
    pub fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, sent) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<AtomicU64>::default());
        let (asked_too, sent_too, handler) = (Arc::clone(&asked), Arc::clone(&sent), Arc::new(handler));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, sent, handler) = (Arc::clone(&asked_too), Arc::clone(&sent_too), Arc::clone(&handler));
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while let Some(request) = read(&mut reader) {
                        asked.lock().unwrap().push(request.clone());
                        let reply = handler(&request);
                        if !write(&stream, reply, &sent) {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, asked, sent }
    }

    /// Serves one content under every path, with ranges and an `ETag`.
    pub fn of(content: Content) -> Self {
        Self::start(move |asked| ranged(asked, &content, "\"v1\""))
    }

    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        Self::of(Content::Bytes(Arc::new(bytes)))
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Asked {
    /// The range asked for, as first byte and one after the last.
    pub fn range(&self) -> Option<(u64, u64)> {
        let (from, last) = self.headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((from.parse().ok()?, last.parse::<u64>().ok()? + 1))
    }
}

impl Content {
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Sparse(_, size) => *size,
        }
    }

    fn stretch(&self, from: u64, to: u64) -> Body {
        match self {
            Self::Bytes(bytes) => {
                Body::Bytes(bytes[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()].to_vec())
            }
            Self::Sparse(file, _) => Body::Stretch(Arc::clone(file), from, to),
        }
    }
}

impl Body {
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) | Self::Stalled(bytes) => bytes.len() as u64,
            Self::Stretch(_, from, to) => to - from,
            Self::Endless => u64::MAX,
        }
    }
}

impl Reply {
    pub fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        Self::with_body(status, headers, Body::Bytes(body.into()))
    }

    pub fn with_body(status: u16, headers: &[(&str, &str)], body: Body) -> Self {
        let length = Some(body.size());
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { status, headers, body, length }
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }
}

/// The answer of a server that keeps to RFC 9110.
pub fn ranged(asked: &Asked, content: &Content, etag: &str) -> Reply {
    let size = content.size();
    let fits = asked.headers.get("if-range").is_none_or(|wanted| wanted == etag);
    match asked.range().filter(|_| fits) {
        Some((from, _)) if from >= size => {
            Reply::new(416, &[("content-range", &format!("bytes */{size}"))], Vec::new())
        }
        Some((from, to)) => {
            let to = to.min(size);
            let span = format!("bytes {from}-{}/{size}", to - 1);
            Reply::with_body(206, &[("content-range", &span), ("etag", etag)], content.stretch(from, to))
        }
        None => Reply::with_body(200, &[("etag", etag)], content.stretch(0, size)),
    }
}

/// Reads a request; nothing at the end of the connection.
pub fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::<String, String>::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length: usize = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let mut body = vec![0; length.min(1 << 20)];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Asked { method, path: path.to_owned(), query: query.to_owned(), headers, body })
}

/// Writes an answer; whether the connection may be used again.
fn write(mut stream: &TcpStream, reply: Reply, sent: &AtomicU64) -> bool {
    let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
    reply.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    match reply.length {
        Some(length) => head.push_str(&format!("content-length: {length}\r\n\r\n")),
        None => head.push_str("connection: close\r\n\r\n"),
    }
    let is_honest = reply.length == Some(reply.body.size());
    let mut put = |bytes: &[u8]| {
        sent.fetch_add(bytes.len() as u64, Relaxed);
        stream.write_all(bytes).is_ok()
    };
    if !put(head.as_bytes()) {
        return false;
    }
    match reply.body {
        Body::Bytes(bytes) => put(&bytes) && is_honest,
        Body::Stretch(file, from, to) => {
            let mut buffer = vec![0; 1 << 16];
            let mut at = from;
            while at < to {
                let n = buffer.len().min(usize::try_from(to - at).unwrap_or(usize::MAX));
                file.read_exact_at(&mut buffer[..n], at).unwrap();
                if !put(&buffer[..n]) {
                    return false;
                }
                at += n as u64;
            }
            true
        }
        Body::Endless => {
            while put(&[0; 4096]) {}
            false
        }
        Body::Stalled(bytes) => {
            put(&bytes);
            thread::sleep(Duration::from_secs(20));
            false
        }
    }
}
