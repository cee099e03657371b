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
pub fn decode_hex(text: &str) -> Vec<u8> {
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(digits.len().is_multiple_of(2), "odd number of hex digits");
    (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// Stands among the names where a stream made a call.
pub const CALLED: &str = "\x1f()";

const RECORDER: &str = r#"
import bz2, gzip, io, json, lzma, pickle, resource, struct, sys, tarfile, tempfile, warnings, zipfile, zlib
DEPTH, STREAMS = int(sys.argv[1]), int(sys.argv[2])
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
        def persistent_load(self, pid): return object.__new__(Stub)
    return Recorder

C, P = recorder(pickle.Unpickler), recorder(pickle._Unpickler)

def read(cls, file):
    seen = []
    try:
        # A loader that unpickles again and again reads stream after stream.
        for _ in range(STREAMS):
            unpickler = cls(file)
            unpickler.seen = seen
            unpickler.load()
            while (byte := file.read(1)) == b'\0': pass
            if not byte: break
            file.seek(-1, 1)
    except Exception:
        pass
    return seen

def unpacked(data, depth):
    yield data
    if depth == 0: return
    for unpack in (gzip.decompress, bz2.decompress, lzma.decompress, zlib.decompress):
        try: yield from unpacked(unpack(data), depth - 1)
        except Exception: pass
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.infolist():
                try:
                    # torch reads on where the checksum is wrong.
                    with archive.open(member) as file:
                        file._expected_crc = None
                        yield from unpacked(file.read(), depth - 1)
                except Exception: pass
    except Exception: pass
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode='r:') as archive:
            for member in archive:
                if member.isfile(): yield from unpacked(archive.extractfile(member).read(), depth - 1)
    except Exception: pass
    if data[:6] == b'\x93NUMPY':
        width = 2 if data[6:7] == b'\1' else 4
        end = 8 + width + int.from_bytes(data[8:8 + width], 'little')
        if b'O' in data[8 + width:end]: yield data[end:]

scratch = tempfile.TemporaryFile()
out = []
data = sys.stdin.buffer.read()
at = 0
while at < len(data):
    (n,) = struct.unpack_from('<I', data, at); at += 4
    content = data[at:at + n]; at += n
    seen = []
    for stream in unpacked(content, DEPTH):
        seen += read(C, io.BytesIO(stream)) + read(P, io.BytesIO(stream))
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
    recorded(streams, 0, 1)
}

/// The same of whole files: every stream of them, and of what Python's own modules unpack from them.
pub fn python_imports_of_files(files: &[Vec<u8>]) -> Vec<BTreeSet<String>> {
    recorded(files, 4, 8)
}

fn recorded(streams: &[Vec<u8>], depth: u32, streams_max: u32) -> Vec<BTreeSet<String>> {
    let mut python = Command::new("python3")
        .args(["-c", RECORDER, &depth.to_string(), &streams_max.to_string()])
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

/// GLOBAL.
pub fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

/// REDUCE with a text as the argument.
pub const ARGS: &[u8] = b"(\x8c\x06echo xtR";

/// Each byte of a text spelled as `each` says.
pub fn escaped(text: &str, each: &dyn Fn(u8) -> String) -> String {
    text.bytes().map(each).collect()
}

/// Base64 of bytes.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let chunks = bytes.chunks(3).map(|chunk| {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digit = |n: usize| char::from(DIGITS[(word >> (18 - 6 * n)) as usize % 64]);
        (0..4).map(|n| if n <= chunk.len() { digit(n) } else { '=' }).collect::<String>()
    });
    chunks.collect()
}

/// A file of torch's format before 1.6, one storage of one number in it.
pub struct Legacy<'a> {
    /// A pickle of its own before the third.
    pub between: &'a [u8],
    /// The third: facts about the system.
    pub system: &'a [u8],
    /// The fourth: the object.
    pub object: &'a [u8],
    /// The fifth: the keys of the storages.
    pub keys: &'a [u8],
    /// Counts and numbers of the storages.
    pub data: &'a [u8],
    /// What follows.
    pub tail: &'a [u8],
}

impl Default for Legacy<'_> {
    fn default() -> Self {
        Self {
            between: b"",
            system: b"\x80\x02}.",
            object: b"\x80\x02(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01NtQ.",
            keys: b"\x80\x02]X\x01\0\0\x000a.",
            data: b"\x01\0\0\0\0\0\0\0\0\0\x80?",
            tail: b"",
        }
    }
}

impl Legacy<'_> {
    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
        let head = [&magic[..], b"\x80\x02M\xe9\x03.", self.between, self.system].concat();
        [&head, self.object, self.keys, self.data, self.tail].concat()
    }
}

/// Packed by gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar of one kind of member each: name, kind, link, data.
pub fn tar(members: &[(&str, u8, &str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, kind, link, data) in members {
        let mut header = vec![0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = *kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..154].copy_from_slice(format!("{sum:06o}").as_bytes());
        out.extend([&header, *data, &vec![0; data.len().next_multiple_of(512) - data.len()]].concat());
    }
    out.extend([0; 1024]);
    out
}

/// A 7z archive of one short member, stored.
pub fn seven_zip(name: &str, data: &[u8]) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    let small = |n: usize| u8::try_from(n).ok().filter(|n| *n < 0x80).unwrap();
    let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    // Where the stream lies, how it is packed (copied), what is in it; then the names.
    let streams = [
        &[4, 6, 0, 1, 9, small(data.len()), 0, 7, 11, 1, 0, 1, 1, 0, 12, small(data.len()), 10, 1][..],
        &crc(data),
        &[0, 8, 0, 0],
    ]
    .concat();
    let header = [&[1][..], &streams, &[5, 1, 17, small(name.len() + 1), 0], &name, &[0, 0]].concat();
    let start = [&(data.len() as u64).to_le_bytes()[..], &(header.len() as u64).to_le_bytes(), &crc(&header)].concat();
    [&b"7z\xbc\xaf\x27\x1c\0\x04"[..], &crc(&start), &start, data, &header].concat()
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

/// A deflated member.
pub fn deflated(name: &str, bytes: &[u8]) -> Member {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    let unpacked = Some((u32::try_from(bytes.len()).unwrap(), crc.sum()));
    Member { method: 8, unpacked, ..Member::stored(name, &encoder.finish().unwrap()) }
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
