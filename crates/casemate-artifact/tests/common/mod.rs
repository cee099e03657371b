//! What the tests of this crate share: samples, scans, and CPython as a witness.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use casemate_artifact::{Scan, Scanner};
use casemate_core::{Limits, MemorySource};

/// Scans bytes under a name, within the default limits.
pub fn scan(name: &str, bytes: &[u8]) -> Scan {
    Scanner::new(Limits::default()).scan(name, Arc::new(MemorySource::new(bytes.to_vec())))
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

const RECORDER: &str = r#"
import io, json, pickle, resource, struct, sys, tempfile, warnings
warnings.simplefilter('ignore')
# Lying lengths make Python allocate what they say.
resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))

class Meta(type):
    def __getattr__(cls, name): raise AttributeError(name)

class Stub(metaclass=Meta):
    def __new__(cls, *args, **kwargs): return object.__new__(cls)
    def __init__(self, *args, **kwargs): pass
    def __call__(self, *args, **kwargs): return Stub()
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
    names = {m + '\x1f' + n for m, n in seen if isinstance(m, str) and isinstance(n, str)}
    # A lone surrogate is not text in JSON; the machine reads it as a replacement character.
    out.append(sorted(name.encode('utf-8', 'surrogatepass').decode('utf-8', 'replace') for name in names))
json.dump(out, sys.stdout)
"#;

/// What Python's readers resolve of each stream, as `module\x1fname`.
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
