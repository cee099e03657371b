//! What the tests of this crate share: samples, scans, and CPython as a witness.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use casemate_artifact::weights::NumbersOnly;
use casemate_artifact::{Scan, Scanner};
use casemate_core::{Limits, MemorySource};

/// Scans bytes under a name, within the default limits.
pub fn scan(name: &str, bytes: &[u8]) -> Scan {
    Scanner::new(Limits::default()).with_weights(&NumbersOnly).scan(name, Arc::new(MemorySource::new(bytes.to_vec())))
}

/// A file of `testdata/artifact`.
pub struct Sample {
    /// The rule it is about: its folder.
    pub rule: String,
    /// `hit`, `near` or `benign`.
    pub kind: String,
    /// The name under which it is scanned.
    pub name: String,
    /// Its path.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Every sample of `testdata/artifact`, in order.
pub fn samples() -> Vec<Sample> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/artifact");
    let mut samples = Vec::new();
    for folder in sorted(&root).into_iter().filter(|path| path.is_dir()) {
        for path in sorted(&folder) {
            let file = path.file_name().unwrap().to_str().unwrap();
            let Some(name) = file.strip_suffix(".hex") else { continue };
            samples.push(Sample {
                rule: folder.file_name().unwrap().to_str().unwrap().into(),
                kind: name.split('-').next().unwrap().into(),
                name: name.into(),
                bytes: decode_hex(&std::fs::read_to_string(&path).unwrap()),
                path,
            });
        }
    }
    samples
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The bytes of a `.hex` text: `#` begins a comment line.
fn decode_hex(text: &str) -> Vec<u8> {
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(digits.len().is_multiple_of(2), "odd number of hex digits");
    (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// Stands among the names where a stream made a call.
pub const CALLED: &str = "\x1f()";

const RECORDER: &str = r#"
import io, json, pickle, resource, struct, sys, tempfile, warnings
warnings.simplefilter('ignore')
# Lying lengths make Python allocate what they say.
resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))

class Meta(type):
    def __getattr__(cls, name): raise AttributeError(name)

CALLS = []

class Stub(metaclass=Meta):
    def __new__(cls, *args, **kwargs):
        CALLS.append(1)
        return object.__new__(cls)
    def __init__(self, *args, **kwargs): pass
    def __call__(self, *args, **kwargs):
        CALLS.append(1)
        return Stub()
    def __setstate__(self, state): pass
    def __setitem__(self, key, value): pass
    def append(self, item): pass
    def extend(self, items): pass
    def add(self, item): pass
    def update(self, items): pass

def recorder(base):
    class Recorder(base):
        def find_class(self, module, name):
            self.seen.append((module, name))
            return Stub
        def persistent_load(self, pid): return Stub()
    return Recorder

C, P = recorder(pickle.Unpickler), recorder(pickle._Unpickler)

def read(cls, file):
    seen = []
    try:
        unpickler = cls(file)
        unpickler.seen = seen
        unpickler.load()
    except Exception:
        pass
    return seen

scratch = tempfile.TemporaryFile()
out = []
data = sys.stdin.buffer.read()
at = 0
while at < len(data):
    (n,) = struct.unpack_from('<I', data, at); at += 4
    stream = data[at:at + n]; at += n
    seen = read(C, io.BytesIO(stream)) + read(P, io.BytesIO(stream))
    scratch.seek(0); scratch.truncate(); scratch.write(stream); scratch.flush(); scratch.seek(0)
    seen += read(C, scratch)
    if CALLS: seen.append(('', '()'))
    CALLS.clear()
    names = {m + '\x1f' + n for m, n in seen if isinstance(m, str) and isinstance(n, str)}
    # A lone surrogate is not text in JSON; the machine reads it as a replacement character.
    out.append(sorted(name.encode('utf-8', 'surrogatepass').decode('utf-8', 'replace') for name in names))
json.dump(out, sys.stdout)
"#;

/// What Python's readers resolve of each stream, as `module\x1fname`, and [`CALLED`] where they called any of it.
///
/// A Python process reads them with the C reader over memory, the C reader over a file and the pure Python reader; its
/// `find_class` only records and hands out an inert stub, so nothing is imported and nothing runs.
pub fn python_imports(streams: &[Vec<u8>]) -> Vec<BTreeSet<String>> {
    let mut python = Command::new("python3")
        .args(["-c", RECORDER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3 must be on the PATH: the machine is tested against it");
    let mut stdin = python.stdin.take().unwrap();
    let mut input = Vec::new();
    for stream in streams {
        input.extend(u32::try_from(stream.len()).unwrap().to_le_bytes());
        input.extend(stream);
    }
    std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// SHORT_BINUNICODE, or BINUNICODE where the text is long.
pub fn text(text: &str) -> Vec<u8> {
    match u8::try_from(text.len()) {
        Ok(len) => [&[0x8c, len], text.as_bytes()].concat(),
        Err(_) => [&b"X"[..], &u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat(),
    }
}

/// BINBYTES.
pub fn bytes(bytes: &[u8]) -> Vec<u8> {
    [&b"B"[..], &u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

/// STACK_GLOBAL with two constant names.
pub fn named(module: &str, name: &str) -> Vec<u8> {
    [text(module), text(name), vec![0x93]].concat()
}

/// A protocol 4 pickle of these parts, with STOP.
pub fn pickle(parts: &[&[u8]]) -> Vec<u8> {
    [&[0x80, 4][..], &parts.concat(), b"."].concat()
}

/// A pickle that calls `module.name('echo x')`.
pub fn calling(module: &str, name: &str) -> Vec<u8> {
    pickle(&[&named(module, name), b"(", &text("echo x"), b"tR"])
}

/// The ordinary hostile pickle.
pub fn hostile() -> Vec<u8> {
    calling("os", "system")
}

/// The ordinary harmless one.
pub fn harmless() -> Vec<u8> {
    calling("collections", "OrderedDict")
}

/// A member of a zip archive, with what its two headers may say differently.
#[derive(Clone)]
pub struct Member {
    /// Name in the directory.
    pub name: String,
    /// Name in the local header.
    pub local_name: String,
    /// Bytes as they stand.
    pub data: Vec<u8>,
    /// General purpose flags.
    pub flags: u16,
    /// Added to the checksum.
    pub crc_error: u32,
    /// 0 stored, 8 deflated.
    pub method: u16,
    /// Unpacked size and checksum, where deflated.
    pub unpacked: Option<(u32, u32)>,
    /// External attributes: Unix mode in the upper half.
    pub attributes: u32,
}

impl Member {
    /// A stored member.
    pub fn stored(name: &str, data: &[u8]) -> Self {
        Self {
            name: name.into(),
            local_name: name.into(),
            data: data.into(),
            flags: 0,
            crc_error: 0,
            method: 0,
            unpacked: None,
            attributes: 0,
        }
    }

    /// A deflated member of `n` zeros.
    pub fn zeros(name: &str, n: usize) -> Self {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        let chunk = vec![0; 1 << 20];
        let mut crc = flate2::Crc::new();
        let mut left = n;
        while left > 0 {
            let len = left.min(chunk.len());
            encoder.write_all(&chunk[..len]).unwrap();
            crc.update(&chunk[..len]);
            left -= len;
        }
        let data = encoder.finish().unwrap();
        Self { method: 8, unpacked: Some((u32::try_from(n).unwrap(), crc.sum())), ..Self::stored(name, &data) }
    }

    fn fields(&self) -> Vec<u8> {
        let mut crc = flate2::Crc::new();
        crc.update(&self.data);
        let len = u32::try_from(self.data.len()).unwrap();
        let (size, sum) = self.unpacked.unwrap_or((len, crc.sum()));
        let mut out = Vec::new();
        out.extend(20u16.to_le_bytes());
        out.extend(self.flags.to_le_bytes());
        out.extend(self.method.to_le_bytes());
        out.extend([0, 0, 0x21, 0x5c]);
        out.extend(sum.wrapping_add(self.crc_error).to_le_bytes());
        out.extend(len.to_le_bytes());
        out.extend(size.to_le_bytes());
        out
    }
}

/// Local headers and data, and the directory entries, of a zip whose first byte stands at `base`.
fn zip_parts(members: &[Member], base: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let offset = u32::try_from(base + out.len()).unwrap();
        let len = |name: &str| u16::try_from(name.len()).unwrap().to_le_bytes();
        out.extend([&b"PK\x03\x04"[..], &member.fields(), &len(&member.local_name), &[0, 0]].concat());
        out.extend([member.local_name.as_bytes(), &member.data].concat());
        directory.extend([&b"PK\x01\x02\x14\x03"[..], &member.fields(), &len(&member.name), &[0; 8]].concat());
        directory
            .extend([&member.attributes.to_le_bytes()[..], &offset.to_le_bytes(), member.name.as_bytes()].concat());
    }
    (out, directory)
}

/// A zip archive at offset `base` of its file; its end record counts `count` members.
pub fn zip_at(members: &[Member], base: usize, count: usize) -> Vec<u8> {
    let (mut out, directory) = zip_parts(members, base);
    let offset = u32::try_from(base + out.len()).unwrap();
    let count = u16::try_from(count).unwrap().to_le_bytes();
    out.extend(&directory);
    out.extend([&b"PK\x05\x06\0\0\0\0"[..], &count, &count].concat());
    out.extend([&u32::try_from(directory.len()).unwrap().to_le_bytes()[..], &offset.to_le_bytes(), &[0, 0]].concat());
    out
}

/// A zip archive.
pub fn zip(members: &[Member]) -> Vec<u8> {
    zip_at(members, 0, members.len())
}

/// A zip of local headers and data alone.
pub fn zip_without_directory(members: &[Member]) -> Vec<u8> {
    zip_parts(members, 0).0
}

/// A torch archive around a pickle.
pub fn torch_zip(pickle: &[u8]) -> Vec<u8> {
    zip(&[Member::stored("archive/data.pkl", pickle), Member::stored("archive/version", b"3\n")])
}

/// A safetensors file.
pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// An npy file of version 1.
pub fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    [&b"\x93NUMPY\x01\x00"[..], &u16::try_from(header.len()).unwrap().to_le_bytes(), header.as_bytes(), data].concat()
}
