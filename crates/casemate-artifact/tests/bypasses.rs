//! The catalogue of bypasses: each technique assembled by hand, with the answer it must get, and a harmless twin.
//!
//! A pickle loader runs code in so many ways that every scanner has missed some. The numbers are those of the catalogue of
//! published techniques (public bug reports of picklescan, modelscan and fickling; arXiv 2508.19774 and 2508.15987); from 65
//! on they are our own finds. Nothing here is ever loaded: the payload is `echo x`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

mod common;

use casemate_artifact::Verdict;

use crate::common::{
    Member, bytes, calling, harmless, hostile, named, npy, pickle, safetensors, scan, text, torch_zip, zip, zip_at,
    zip_without_directory,
};

/// What the scanner must say.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// Malicious.
    Mal,
    /// Suspicious, no more and no less.
    Sus,
    /// Suspicious or worse.
    AtLeastSus,
    /// Anything but clean.
    NotClean,
}

struct Case {
    number: u32,
    what: String,
    name: String,
    bytes: Vec<u8>,
    answer: Answer,
    twin: Vec<u8>,
}

fn case(number: u32, what: &str, bytes: Vec<u8>, answer: Answer, twin: Vec<u8>) -> Case {
    Case { number, what: what.into(), name: "model.pkl".into(), bytes, answer, twin }
}

/// A technique that works with any callable: hostile with `os.system`, harmless with `collections.OrderedDict`.
fn both(number: u32, what: &str, build: impl Fn(&str, &str) -> Vec<u8>) -> Case {
    case(number, what, build("os", "system"), Answer::Mal, build("collections", "OrderedDict"))
}

/// A technique of its own names; any harmless pickle is its twin.
fn mal(number: u32, what: &str, bytes: Vec<u8>) -> Case {
    case(number, what, bytes, Answer::Mal, harmless())
}

impl Case {
    fn called(self, name: &str) -> Self {
        Self { name: name.into(), ..self }
    }
}

fn judge(cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        let found = scan(&case.name, &case.bytes);
        let fits = match case.answer {
            Answer::Mal => found.verdict == Verdict::Malicious,
            Answer::Sus => found.verdict == Verdict::Suspicious,
            Answer::AtLeastSus => found.verdict >= Verdict::Suspicious,
            Answer::NotClean => found.verdict != Verdict::Clean,
        };
        let lines = |scan: &casemate_artifact::Scan| {
            scan.findings.iter().map(|f| format!("\n    {} {}", f.rule, f.message)).collect::<String>()
        };
        if !fits {
            wrong.push(format!(
                "technique {} ({}): {:?} asked, got {:?}{}",
                case.number,
                case.what,
                case.answer,
                found.verdict,
                lines(&found)
            ));
        }
        let twin = scan(&case.name, &case.twin);
        if twin.verdict != Verdict::Clean {
            wrong.push(format!(
                "technique {} ({}): its twin is {:?}{}",
                case.number,
                case.what,
                twin.verdict,
                lines(&twin)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} answers are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// GLOBAL.
fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

const ARGS: &[u8] = b"(\x8c\x06echo xtR";

#[test]
fn names_are_found_however_they_are_spelled_and_stored() {
    let swap = |number, what: &str, build: &dyn Fn(&str, &str) -> Vec<u8>| both(number, what, build);
    let escaped = |text: &str, each: &dyn Fn(u8) -> String| text.bytes().map(each).collect::<String>();
    let quoted = |module: &str, name: &str, each: &dyn Fn(u8) -> String, quote: char| {
        let (module, name) = (escaped(module, each), escaped(name, each));
        pickle(&[format!("S{quote}{module}{quote}\nS{quote}{name}{quote}\n").as_bytes(), b"\x93", ARGS])
    };
    judge(&[
        mal(1, "posix", calling("posix", "system")),
        mal(1, "nt", calling("nt", "system")),
        mal(1, "_posixsubprocess", calling("_posixsubprocess", "fork_exec")),
        mal(1, "commands, below protocol 3", [&global("commands", "getoutput")[..], b"(S'echo x'\ntR."].concat()),
        mal(1, "__builtin__, below protocol 3", [&global("__builtin__", "execfile")[..], b"(S'x'\ntR."].concat()),
        swap(4, "names through the memo", &|m, n| pickle(&[&text(m), b"\x940", &text(n), b"\x940h\0h\x01\x93", ARGS])),
        swap(5, "memo index shift", &|m, n| {
            pickle(&[b"Nq\x070Nq\x090", &text(m), b"\x940", &text(n), b"\x940h\x02h\x03\x93", ARGS])
        }),
        swap(6, "memo slot overwritten", &|m, n| {
            let fill = [&text("collections")[..], b"q\x000", &text("OrderedDict"), b"q\x010"].concat();
            let over = [&text(m)[..], b"q\x000", &text(n), b"q\x010"].concat();
            pickle(&[&fill, &over, b"h\0h\x01\x93", ARGS])
        }),
        swap(7, "DUP and POP between the names", &|m, n| pickle(&[&text(m), b"20N0", &text(n), b"20\x93", ARGS])),
        swap(8, "POP_MARK drops decoys", &|m, n| {
            let decoys = [&b"("[..], &text("collections"), &text("OrderedDict"), b"1"].concat();
            pickle(&[&text(m), &text(n), &decoys, b"\x93", ARGS])
        }),
        swap(9, "STRING with hexadecimal escapes", &|m, n| quoted(m, n, &|b| format!("\\x{b:02x}"), '\'')),
        swap(9, "STRING with octal escapes", &|m, n| quoted(m, n, &|b| format!("\\{b:03o}"), '"')),
        swap(9, "UNICODE with escapes", &|m, n| {
            let each = |b: u8| format!("\\u{b:04x}");
            pickle(&[format!("V{}\nV{}\n", escaped(m, &each), escaped(n, &each)).as_bytes(), b"\x93", ARGS])
        }),
        swap(10, "names as SHORT_BINSTRING", &|m, n| {
            let short = |t: &str| [&[b'U', u8::try_from(t.len()).unwrap()], t.as_bytes()].concat();
            pickle(&[&short(m), &short(n), b"\x93", ARGS])
        }),
        swap(10, "names as BINSTRING", &|m, n| {
            let long = |t: &str| [&b"T"[..], &u32::try_from(t.len()).unwrap().to_le_bytes(), t.as_bytes()].concat();
            pickle(&[&long(m), &long(n), b"\x93", ARGS])
        }),
        swap(10, "names as BINBYTES", &|m, n| pickle(&[&bytes(m.as_bytes()), &bytes(n.as_bytes()), b"\x93", ARGS])),
    ]);
}

#[test]
fn names_that_are_computed_or_reach_further_are_found() {
    judge(&[
        mal(
            11,
            "str(bytes)",
            pickle(&[&named("builtins", "str"), b"C\x02os", &text("ascii"), b"\x86R", &text("system"), b"\x93", ARGS]),
        ),
        mal(
            11,
            "codecs.decode",
            pickle(&[
                &named("codecs", "decode"),
                &text("bf"),
                &text("rot13"),
                b"\x86R",
                &text("system"),
                b"\x93",
                ARGS,
            ]),
        ),
        mal(
            11,
            "operator.concat",
            pickle(&[&named("operator", "concat"), &text("o"), &text("s"), b"\x86R", &text("system"), b"\x93", ARGS]),
        ),
        mal(12, "logging + os.system", calling("logging", "os.system")),
        mal(12, "torch.serialization + os.system", calling("torch.serialization", "os.system")),
        mal(12, "numpy.lib.npyio + os.system", calling("numpy.lib.npyio", "os.system")),
        mal(12, "collections + _sys.modules.get", calling("collections", "_sys.modules.get")),
        mal(13, "dunder walk", calling("collections", "OrderedDict.__init_subclass__.__self__.__subclasses__")),
        mal(13, "globals of a function", calling("collections", "namedtuple.__globals__.get")),
        mal(62, "a submodule of a denied package", calling("asyncio.unix_events", "_UnixSubprocessTransport._start")),
    ]);
}

#[test]
fn calls_are_found_however_they_are_made() {
    let popen = named("subprocess", "Popen");
    let class = named("collections", "OrderedDict");
    let words = [&b"("[..], &text("echo"), &text("x"), b"l\x85"].concat();
    let keywords = [&b"}"[..], &text("shell"), b"\x88s"].concat();
    judge(&[
        both(2, "INST", |m, n| pickle(&[b"(", &text("echo x"), format!("i{m}\n{n}\n").as_bytes()])),
        both(2, "OBJ", |m, n| pickle(&[b"(", &named(m, n), &text("echo x"), b"o"])),
        case(2, "NEWOBJ", pickle(&[&popen, &words, b"\x81"]), Answer::Mal, pickle(&[&class, b")\x81"])),
        case(2, "NEWOBJ_EX", pickle(&[&popen, &words, &keywords, b"\x92"]), Answer::Mal, pickle(&[&class, b")}\x92"])),
        case(
            3,
            "BUILD writes __setstate__, the next BUILD calls it",
            pickle(&[
                &named("types", "SimpleNamespace"),
                b")R}",
                &text("__setstate__"),
                &named("os", "system"),
                b"sb",
                &text("echo x"),
                b"b",
            ]),
            Answer::Mal,
            pickle(&[&named("argparse", "Namespace"), b")\x81}", &text("lr"), b"G\0\0\0\0\0\0\0\0sb"]),
        ),
        both(24, "OBJ and POP", |m, n| pickle(&[b"(", &named(m, n), &text("echo x"), b"o0N"])),
        both(25, "result under a dictionary key", |m, n| pickle(&[b"}", &text("k"), &named(m, n), ARGS, b"s"])),
        both(25, "result in a memo slot", |m, n| pickle(&[&named(m, n), ARGS, b"\x940N"])),
        both(25, "result inside APPENDS", |m, n| pickle(&[b"](N", &named(m, n), ARGS, b"e"])),
        both(26, "600 kB of NONE POP before", |m, n| pickle(&[&b"N0".repeat(300_000), &named(m, n), ARGS])),
        both(27, "12 MB of BINBYTES popped before", |m, n| {
            pickle(&[&bytes(&vec![0x41; 12 << 20]), b"0", &named(m, n), ARGS])
        }),
        case(
            34,
            "SETITEM on sys.modules",
            pickle(&[&named("sys", "modules"), &text("os"), b"Ns"]),
            Answer::Mal,
            pickle(&[b"}", &text("os"), b"Ns"]),
        ),
        case(
            34,
            "BUILD with slot state on an imported module",
            pickle(&[&named("torch.nn", "Linear"), b"N}", &text("forward"), &named("os", "system"), b"s\x86b"]),
            Answer::Mal,
            pickle(&[&class, b")RN}", &text("a"), b"Ns\x86b"]),
        ),
        mal(
            44,
            "partial of a shell",
            pickle(&[&named("functools", "partial"), &named("os", "system"), &text("x"), b"\x86R"]),
        ),
        case(
            44,
            "functools.reduce",
            pickle(&[&named("functools", "reduce"), &named("os", "system"), b"]\x86R"]),
            Answer::Mal,
            pickle(&[&named("functools", "partial"), &class, b"\x85R"]),
        ),
    ]);
}

#[test]
fn calls_through_the_standard_librarys_own_callers_are_found() {
    judge(&[
        mal(45, "operator.methodcaller", calling("operator", "methodcaller")),
        mal(45, "_operator.methodcaller", calling("_operator", "methodcaller")),
        case(
            45,
            "attrgetter of a dotted dunder",
            pickle(&[&named("operator", "attrgetter"), &text("__class__.__base__"), b"\x85R"]),
            Answer::Mal,
            pickle(&[&named("operator", "attrgetter"), &text("weight"), b"\x85R"]),
        ),
        mal(46, "pkgutil.resolve_name", calling("pkgutil", "resolve_name")),
        mal(47, "importlib.import_module", calling("importlib", "import_module")),
        mal(47, "importlib._bootstrap._gcd_import", calling("importlib._bootstrap", "_gcd_import")),
        mal(47, "builtins.__import__", calling("builtins", "__import__")),
    ]);
}

/// Harmless data first, so that what is broken comes after something whole.
fn cut_after(payload: &[u8], tail: &[u8]) -> Vec<u8> {
    [&payload[..payload.len() - 1], tail].concat()
}

#[test]
fn what_ran_before_an_error_counts_and_every_stream_is_read() {
    let legacy_ok = legacy(&[b"\x80\x02}."; 2], b"");
    judge(&[
        mal(16, "no STOP", cut_after(&hostile(), b"")),
        mal(17, "an invalid opcode after", cut_after(&hostile(), b"\xff\xfe\xff")),
        mal(18, "stack underflow after", cut_after(&hostile(), b"00000.")),
        case(19, "second stream", [harmless(), hostile()].concat(), Answer::Mal, [harmless(), harmless()].concat()),
        case(19, "third stream", [harmless(), harmless(), hostile()].concat(), Answer::Mal, harmless().repeat(3)),
        case(
            20,
            "zeros between the streams",
            [&harmless()[..], &[0; 16], &hostile()].concat(),
            Answer::Mal,
            [&harmless()[..], &[0; 16], &harmless()].concat(),
        ),
        case(
            21,
            "in the fourth pickle of legacy torch",
            legacy(&[b"\x80\x02}.", &hostile()], b""),
            Answer::Mal,
            legacy_ok.clone(),
        ),
        case(
            21,
            "in the third pickle of legacy torch",
            legacy(&[&hostile(), b"\x80\x02}."], b""),
            Answer::Mal,
            legacy_ok.clone(),
        ),
        case(21, "after legacy torch", legacy(&[b"\x80\x02}."; 2], &hostile()), Answer::Mal, legacy_ok.clone()),
        case(
            21,
            "bytes after legacy torch",
            legacy(&[b"\x80\x02}."; 2], b"\x01\x02"),
            Answer::AtLeastSus,
            legacy_ok.clone(),
        ),
        case(21, "before legacy torch", [&hostile()[..], &legacy_ok].concat(), Answer::Mal, legacy_ok.clone()),
        case(
            21,
            "the magic number computed",
            [
                pickle(&[&named("builtins", "eval"), &text("0x1950a86a20f9469cfc6c"), b"\x85R"]),
                legacy_ok[15..].to_vec(),
            ]
            .concat(),
            Answer::Mal,
            legacy_ok,
        ),
    ]);
}

#[test]
fn protocols_and_frames_that_lie_hide_nothing() {
    let framed = |len: u64, body: &[u8]| [&[0x80, 4, 0x95][..], &len.to_le_bytes(), body].concat();
    let body = hostile()[2..].to_vec();
    let good = harmless()[2..].to_vec();
    let size = body.len() as u64;
    let twin = framed(good.len() as u64, &good);
    judge(&[
        case(
            22,
            "no PROTO",
            [&global("os", "system")[..], b"(S'echo x'\ntR."].concat(),
            Answer::Mal,
            [&global("collections", "OrderedDict")[..], b")R."].concat(),
        ),
        both(22, "PROTO twice", |m, n| [&[0x80, 2, 0x80, 2][..], &global(m, n), ARGS, b"."].concat()),
        case(
            22,
            "a late PROTO 4",
            [&[0x80, 2, b'N', b'0', 0x80, 4][..], &named("logging", "os.system"), ARGS, b"."].concat(),
            Answer::Mal,
            [&[0x80, 2, b'N', b'0', 0x80, 4][..], &named("collections", "OrderedDict"), b")R."].concat(),
        ),
        case(22, "PROTO 6", b"\x80\x06N.".to_vec(), Answer::AtLeastSus, b"\x80\x05N.".to_vec()),
        case(
            23,
            "FRAME shorter than its opcodes",
            framed(7, &[&global("os", "system")[..], b")R."].concat()),
            Answer::Mal,
            twin.clone(),
        ),
        case(23, "FRAME shorter, harmless inside", framed(7, &good), Answer::AtLeastSus, twin.clone()),
        case(23, "FRAME of 2^62", framed(1 << 62, &body), Answer::Mal, twin.clone()),
        case(23, "FRAME longer than the file", framed(size + 1, &body), Answer::Mal, twin.clone()),
        case(
            23,
            "FRAME longer, harmless inside",
            framed(good.len() as u64 + 1, &good),
            Answer::AtLeastSus,
            twin.clone(),
        ),
        case(
            23,
            "nested FRAME",
            framed(size + 9, &[&[0x95][..], &size.to_le_bytes(), &body].concat()),
            Answer::Mal,
            twin.clone(),
        ),
        case(23, "FRAME cut through an operand", framed(size - 4, &body), Answer::Mal, twin),
    ]);
}

#[test]
fn an_error_never_means_clean() {
    judge(&[
        case(
            39,
            "an integer only some readers take",
            [&b"I0x10\n0"[..], &global("os", "system"), b"(S'echo x'\ntR."].concat(),
            Answer::Mal,
            b"I0x10\n0].".to_vec(),
        ),
        case(
            39,
            "an integer beyond 64 bits",
            [&b"L1180591620717411303424L\n0"[..], &global("os", "system"), b"(S'echo x'\ntR."].concat(),
            Answer::Mal,
            b"(lL1180591620717411303424L\na.".to_vec(),
        ),
        case(
            39,
            "a GET of a slot never written, then the payload",
            [&b"\x80\x04h\x05"[..], &hostile()[2..]].concat(),
            Answer::NotClean,
            harmless(),
        ),
        case(
            39,
            "a broken first stream, then the payload",
            [&b"\x80\x040."[..], &hostile()].concat(),
            Answer::NotClean,
            harmless(),
        ),
    ]);
}

/// A legacy torch file with these system information and object pickles, and one storage.
fn legacy(pickles: &[&[u8]; 2], tail: &[u8]) -> Vec<u8> {
    let storage = b"\x80\x02(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01NtQ.";
    let object = if pickles[1] == b"\x80\x02}." { &storage[..] } else { pickles[1] };
    let (keys, data): (&[u8], &[u8]) = match object == storage {
        true => (b"\x80\x02]X\x01\0\0\x000a.", b"\x01\0\0\0\0\0\0\0\0\0\x80?"),
        false => (b"\x80\x02].", b""),
    };
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
    [&magic[..], b"\x80\x02M\xe9\x03.", pickles[0], object, keys, data, tail].concat()
}

#[test]
fn odd_imports_and_outside_objects_are_suspicious() {
    let storage =
        pickle(&[b"(", &text("storage"), &named("torch", "FloatStorage"), &text("0"), &text("cpu"), b"K\x01tQ"]);
    let import = |module: &str, name: &str| pickle(&[&named(module, name)]);
    let sus = |number, what: &str, bytes: Vec<u8>| case(number, what, bytes, Answer::Sus, harmless());
    judge(&[
        sus(14, "EXT1", pickle(&[b"\x82\x01"])),
        sus(14, "EXT2", pickle(&[b"\x83\x01\0"])),
        sus(14, "EXT4", pickle(&[b"\x84\x01\0\0\0"])),
        sus(15, "PERSID", b"Pposix.system\n.".to_vec()),
        sus(15, "BINPERSID", pickle(&[&text("posix.system"), b"Q"])),
        case(15, "a storage outside a torch archive", storage.clone(), Answer::Sus, torch_zip(&storage))
            .called("model.pt"),
        case(
            15,
            "another id inside a torch archive",
            torch_zip(&pickle(&[&text("posix.system"), b"Q"])),
            Answer::Sus,
            torch_zip(&storage),
        )
        .called("model.pt"),
        sus(35, "Cyrillic о in os", import("\u{43e}s", "system")),
        case(
            36,
            "CR in the GLOBAL line",
            [&b"\x80\x02"[..], &global("os\r", "system"), b"."].concat(),
            Answer::AtLeastSus,
            [&b"\x80\x02"[..], &global("collections", "OrderedDict"), b"."].concat(),
        ),
        sus(37, "import of this", import("this", "s")),
        case(37, "import of antigravity", import("antigravity", "webbrowser"), Answer::AtLeastSus, harmless()),
        sus(37, "import of an unknown package", import("evil_pkg.loader", "boot")),
        mal(37, "call of an unknown package", calling("evil_pkg.loader", "boot")),
        sus(38, "a function of __main__", import("__main__", "f")),
    ]);
}

#[test]
fn costly_streams_are_bounded_and_not_clean() {
    let dos = |number, what: &str, bytes: Vec<u8>| case(number, what, bytes, Answer::NotClean, harmless());
    let huge = |opcode: u8, len: u64| pickle(&[&[opcode], &len.to_le_bytes(), b"x"]);
    judge(&[
        dos(28, "BINUNICODE8 of 1 TiB", huge(0x8d, 1 << 40)),
        dos(28, "BINBYTES8 of 2^63 - 1", huge(0x8e, i64::MAX.unsigned_abs())),
        dos(28, "LONG4 of 2 GiB", pickle(&[b"\x8b\xff\xff\xff\x7fx"])),
        dos(29, "LONG of 2 million digits", [&b"\x80\x02L"[..], &b"9".repeat(2_000_000), b"L\n."].concat()),
        dos(30, "LONG_BINPUT at 2^31 - 1", pickle(&[b"Nr\xff\xff\xff\x7f"])),
        dos(33, "500,000 MARKs", [&b"\x80\x04"[..], &b"(".repeat(500_000), b"N."].concat()),
        dos(61, "200 MB of zeros in a zip", zip(&[Member::zeros("a.bin", 200_000_000)]))
            .called("model.zip")
            .twin(zip(&[Member::zeros("a.txt", 0)])),
    ]);
    // Sharing and nesting cost a loader nothing; a scanner that expands or recurses dies of them.
    let doubling = pickle(&[b"N\x85\x94", &b"2\x86\x94".repeat(40)]);
    let nested = pickle(&[&b"]".repeat(200_000), &b"a".repeat(199_999)]);
    for (number, bytes) in [(31, doubling), (32, nested)] {
        assert!(scan("model.pkl", &bytes).verdict <= Verdict::Unscannable, "technique {number}");
    }
}

impl Case {
    fn twin(self, twin: Vec<u8>) -> Self {
        Self { twin, ..self }
    }
}

#[test]
fn nested_pickles_are_judged_by_what_is_inside() {
    let loads = |module: &str, name: &str, inner: &[u8]| pickle(&[&named(module, name), &bytes(inner), b"\x85R"]);
    let by_torch = |inner: &[u8]| loads("torch.storage", "_load_from_bytes", inner);
    let base64 = |bytes: &[u8]| base64(bytes);
    judge(&[
        mal(40, "pickle.loads", loads("pickle", "loads", &hostile())),
        mal(40, "_pickle.loads", loads("_pickle", "loads", &hostile())),
        mal(40, "dill.loads", loads("dill", "loads", &hostile())),
        mal(40, "cloudpickle.loads", loads("cloudpickle", "loads", &hostile())),
        mal(40, "joblib.load", calling("joblib", "load")),
        case(41, "_load_from_bytes", by_torch(&hostile()), Answer::Mal, by_torch(&harmless())),
        case(
            41,
            "_load_from_bytes of a stream without PROTO",
            by_torch(b"cos\nsystem\n(S'echo x'\ntR."),
            Answer::Mal,
            by_torch(&harmless()),
        ),
        case(
            41,
            "_load_from_bytes of a torch zip",
            by_torch(&torch_zip(&hostile())),
            Answer::Mal,
            by_torch(&legacy(&[b"\x80\x02}."; 2], b"")),
        ),
        case(
            41,
            "_load_from_bytes twice",
            by_torch(&by_torch(&hostile())),
            Answer::Mal,
            by_torch(&by_torch(&harmless())),
        ),
        mal(
            42,
            "exec of zlib.decompress",
            pickle(&[&named("builtins", "exec"), &named("zlib", "decompress"), &bytes(b"x"), b"\x85R\x85R"]),
        ),
        mal(
            42,
            "eval of codecs.decode",
            pickle(&[
                &named("builtins", "eval"),
                &named("codecs", "decode"),
                &text("x"),
                &text("rot13"),
                b"\x86R\x85R",
            ]),
        ),
        mal(42, "base64.b64decode", calling("base64", "b64decode")),
        mal(
            42,
            "marshal.loads to FunctionType",
            pickle(&[&named("types", "FunctionType"), &named("marshal", "loads"), &bytes(b"x"), b"\x85R}\x86R"]),
        ),
        case(43, "a pickle held as bytes", pickle(&[&bytes(&hostile())]), Answer::Sus, pickle(&[&bytes(&harmless())])),
        case(
            43,
            "a pickle held in base64",
            pickle(&[&text(&base64(&hostile()))]),
            Answer::Sus,
            pickle(&[&text(&base64(&harmless()))]),
        ),
    ]);
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let chunks = bytes.chunks(3).map(|chunk| {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digit = |n: usize| char::from(DIGITS[(word >> (18 - 6 * n)) as usize % 64]);
        (0..4).map(|n| if n <= chunk.len() { digit(n) } else { '=' }).collect::<String>()
    });
    chunks.collect()
}

#[test]
fn the_long_tail_of_gadgets_is_denied_by_default() {
    let gadgets = "pip.main timeit.timeit cProfile.run profile.run trace.Trace bdb.Bdb pdb.run doctest.debug_script \
        code.interact idlelib.run lib2to3.main ensurepip.bootstrap venv.create test.support.run_code uuid._get_command_stdout \
        _osx_support._read_output _aix_support._read_cmd_output _pyrepl.pager.pipe_pager numpy.f2py.compile \
        numpy.testing._private.utils.runstring torch.hub.load torch.utils.cpp_extension.load_inline \
        torch.utils.collect_env.run torch._inductor.codecache.compile_file torch.fx.graph_module._exec_with_source \
        pandas.eval pandas.read_pickle sympy.parse_expr yaml.unsafe_load ctypes.CDLL cffi.FFI logging.config.listen \
        logging.FileHandler sqlite3.connect urllib.request.urlopen ssl.get_server_certificate asyncio.run \
        distutils.spawn.spawn webbrowser.open runpy.run_path shutil.rmtree tempfile.mktemp builtins.exec builtins.eval \
        builtins.open builtins.compile builtins.map builtins.filter builtins.iter itertools.starmap ast.literal_eval \
        getpass.getuser ntpath.isfile gc.get_objects builtins.help torch.jit.annotations.parse_type_line \
        torch.distributed.rpc.rpc_sync numpy.load numpy.fromfile torch.load multiprocessing.util.spawnv_passfds";
    let cases: Vec<_> = gadgets
        .split_whitespace()
        .map(|gadget| {
            let (module, name) = gadget.rsplit_once('.').unwrap();
            mal(48, gadget, calling(module, name))
        })
        .collect();
    judge(&cases);
}

#[test]
fn containers_hide_nothing() {
    let torch = |pickle: &[u8]| Member::stored("archive/data.pkl", pickle);
    let version = Member::stored("archive/version", b"3\n");
    let ok = torch_zip(&harmless());
    let pt = |number, what: &str, bytes: Vec<u8>| case(number, what, bytes, Answer::Mal, ok.clone()).called("model.pt");
    let renamed = Member { name: "archive/notes.txt".into(), ..torch(&hostile()) };
    let two = [torch_zip(&harmless()), {
        let base = torch_zip(&harmless()).len();
        zip_at(&[torch(&hostile()), version.clone()], base, 2)
    }];
    let nested = |pickle: &[u8]| {
        let inner = zip(&[Member::stored("x.pkl", pickle)]);
        zip(&[Member::stored("b.zip", &zip(&[Member::stored("a.zip", &inner)]))])
    };
    let link = |target: &[u8]| Member { attributes: 0o120_777 << 16, ..Member::stored("link", target) };
    let mut cases = vec![
        pt(50, "wrong checksum", zip(&[Member { crc_error: 1, ..torch(&hostile()) }, version.clone()])),
        pt(51, "encrypted flag on plain bytes", zip(&[Member { flags: 1, ..torch(&hostile()) }, version.clone()])),
        pt(
            52,
            "local name differs",
            zip(&[Member { local_name: "archive/other.pkl".into(), ..torch(&hostile()) }, version.clone()]),
        ),
        pt(52, "the directory calls it .txt", zip(&[renamed, version.clone()])),
        pt(53, "two members of one name, hostile last", zip(&[torch(&harmless()), torch(&hostile()), version.clone()])),
        pt(
            53,
            "two members of one name, hostile first",
            zip(&[torch(&hostile()), torch(&harmless()), version.clone()]),
        ),
        pt(54, "two archives", two.concat()),
        pt(
            54,
            "pickle before the archive",
            [hostile(), zip_at(&[torch(&harmless()), version.clone()], hostile().len(), 2)].concat(),
        ),
        pt(54, "pickle after the archive", [torch_zip(&harmless()), hostile()].concat()),
        pt(55, "end record counts too few", zip_at(&[version.clone(), torch(&hostile())], 0, 1)),
        pt(55, "no end record", zip_without_directory(&[torch(&hostile()), version.clone()])),
        pt(
            56,
            "oddly named member",
            zip(&[torch(&harmless()), Member::stored("archive/.data/extra", &hostile()), version.clone()]),
        ),
        pt(
            56,
            "constants.pkl",
            zip(&[torch(&harmless()), Member::stored("archive/constants.pkl", &hostile()), version.clone()]),
        ),
        pt(56, "bytecode.pkl", zip(&[torch(&harmless()), Member::stored("archive/bytecode.pkl", &hostile()), version])),
        case(54, "bytes after the end record", [&ok[..], b"\x01\x02\x03"].concat(), Answer::AtLeastSus, ok.clone())
            .called("model.pt"),
        case(58, "zip in zip in zip", nested(&hostile()), Answer::Mal, nested(&harmless())).called("model.zip"),
    ];
    for name in ["../x", "/etc/x", "..\\x", "C:\\x", "a/../../x"] {
        let twin = zip(&[Member::stored("a/x", b"text")]);
        cases.push(case(60, name, zip(&[Member::stored(name, b"text")]), Answer::Mal, twin).called("model.zip"));
    }
    for target in ["../../secret", "/etc/secret"] {
        let twin = zip(&[link(b"beside.txt")]);
        cases.push(
            case(60, "symbolic link outside", zip(&[link(target.as_bytes())]), Answer::Mal, twin).called("model.zip"),
        );
    }
    judge(&cases);
}

#[test]
fn names_of_files_do_not_matter() {
    let archive = torch_zip(&hostile());
    for name in ["m.bin", "m.pt", "m.txt", "m.h5", "m.json", "m.npy", "m.PT", "m", "m.safetensors", "m.onnx", "m.gguf"]
    {
        for bytes in [&hostile(), &archive] {
            assert_eq!(scan(name, bytes).verdict, Verdict::Malicious, "technique 49: {name}");
        }
    }
    for name in ["m.safetensors", "m.onnx", "m.npy", "m.json", "m.txt"] {
        let found = scan(name, &harmless());
        assert!(found.findings.iter().any(|f| f.rule == "extension-mismatch"), "technique 49: no mismatch for {name}");
    }
    assert_eq!(scan("m.bin", &harmless()).verdict, Verdict::Clean, "technique 49: twin");
}

#[test]
fn arrays_of_objects_are_pickles() {
    let header =
        |descr: &str, shape: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let objects = |pickle: &[u8]| npy(&header("'|O'", "(1,)"), pickle);
    let structured = |pickle: &[u8]| npy(&header("[('a', '<f4'), ('b', '|O')]", "(1,)"), pickle);
    let floats = npy(&header("'<f4'", "(2,)"), &[0; 8]);
    let long = [&b"\x93NUMPY\x02\x00"[..], &0x8000_0000u32.to_le_bytes(), b"{}"].concat();
    judge(&[
        case(64, "object array", objects(&hostile()), Answer::Mal, objects(&harmless())).called("a.npy"),
        case(64, "object field", structured(&hostile()), Answer::Mal, structured(&harmless())).called("a.npy"),
        case(
            64,
            "in an npz",
            zip(&[Member::stored("a.npy", &objects(&hostile()))]),
            Answer::Mal,
            zip(&[Member::stored("a.npy", &objects(&harmless()))]),
        )
        .called("a.npz"),
        case(64, "header of 2 GiB", long, Answer::NotClean, floats.clone()).called("a.npy"),
        case(
            64,
            "shape product overflows",
            npy(&header("'<f4'", "(4611686018427387904, 4)"), &[0; 8]),
            Answer::AtLeastSus,
            floats,
        )
        .called("a.npy"),
    ]);
}

#[test]
fn calls_through_listed_callables_are_seen() {
    let load = named("torch.storage", "_load_from_bytes");
    let raw = bytes(b"cos\nsystem\n(S'echo x'\ntR.");
    let instance = [&named("collections", "OrderedDict")[..], b")R"].concat();
    let state = |key: &str, value: &[u8]| [&b"}"[..], &text(key), value, b"sb"].concat();
    let rebuild = named("torch._tensor", "_rebuild_from_type_v2");
    let tensor = named("torch", "Tensor");
    let parameter = named("torch._utils", "_rebuild_parameter");
    let inner = [&b"(N\x89"[..], &instance, b"t"].concat();
    judge(&[
        case(
            65,
            "a loader of nested pickles kept as __setstate__",
            pickle(&[&instance, &state("__setstate__", &load), &raw, b"b"]),
            Answer::Mal,
            pickle(&[&instance, &state("_metadata", b"}")]),
        ),
        mal(65, "kept as append", pickle(&[&instance, &state("append", &load), &raw, b"a"])),
        mal(65, "kept as extend", pickle(&[&instance, &state("extend", &load), b"(", &raw, b"e"])),
        mal(65, "kept as add", pickle(&[&instance, &state("add", &load), b"(", &raw, b"\x90"])),
        mal(
            65,
            "an unknown function kept as append",
            pickle(&[&instance, &state("append", &named("evil_pkg", "f")), b"Na"]),
        ),
        case(
            66,
            "a loader handed to _rebuild_from_type_v2",
            pickle(&[&rebuild, b"(", &load, &tensor, &raw, b"\x85NtR"]),
            Answer::Mal,
            pickle(&[&rebuild, b"(", &parameter, &tensor, &inner, b"}tR"]),
        ),
        case(
            66,
            "a loader handed to __generator_ctor",
            pickle(&[&named("numpy.random._pickle", "__generator_ctor"), &raw, &load, b"\x86R"]),
            Answer::Mal,
            pickle(&[&named("numpy.random._pickle", "__generator_ctor"), &text("PCG64"), b"\x85R"]),
        ),
        mal(
            66,
            "an unknown function handed to __generator_ctor",
            pickle(&[&named("numpy.random._pickle", "__generator_ctor"), b"N", &named("evil_pkg", "f"), b"\x86R"]),
        ),
        mal(
            66,
            "a loader handed to partial and on to defaultdict",
            pickle(&[&named("collections", "defaultdict"), &named("functools", "partial"), &load, &raw, b"\x86R\x85R"]),
        ),
        mal(
            66,
            "partial whose state replaces its function",
            pickle(&[&named("functools", "partial"), &named("builtins", "list"), b"\x85R(", &load, &raw, b"\x85}Ntb"]),
        ),
        mal(
            66,
            "getattr handed to partial",
            pickle(&[&named("functools", "partial"), &named("builtins", "getattr"), b"\x85R"]),
        ),
    ]);
}

#[test]
fn decoys_and_second_readings_hide_nothing() {
    let load = named("torch.storage", "_load_from_bytes");
    let raw = bytes(b"cos\nsystem\n(S'echo x'\ntR.");
    let decoys = bytes(b"\x80\x02]q\0NN\x85.").repeat(1001);
    let header = "{\"w\":{\"dtype\":\"U8\",\"shape\":[LL],\"data_offsets\":[0,LL]}}";
    let polyglot = |data: &[u8]| {
        let header = header.replace("LL", &data.len().to_string());
        safetensors(&format!("{header:86}"), data)
    };
    let call = b"\n0cos\nsystem\n(S'echo x'\ntR.";
    judge(&[
        case(
            67,
            "bytes of a loader behind 1,001 decoys",
            pickle(&[b"(", &decoys, b"l0", &load, &raw, b"\x85R"]),
            Answer::Mal,
            pickle(&[b"(", &bytes(b"\x80\x02]q\0NN\x85.").repeat(1000), b"l"]),
        ),
        case(68, "safetensors that is a pickle", polyglot(call), Answer::Mal, polyglot(&[7; 27]))
            .called("model.safetensors"),
        case(68, "the same under torch's extension", polyglot(call), Answer::Mal, harmless()).called("model.pt"),
    ]);
}

#[test]
fn methods_looked_up_on_instances_and_chains_of_getattr_are_seen() {
    let instance = [&named("collections", "OrderedDict")[..], b")R"].concat();
    let state = |key: &str, value: &[u8]| [&b"}"[..], &text(key), value, b"sb"].concat();
    let copyreg = |class: &[u8]| pickle(&[&named("copyreg", "__newobj__"), class, b"\x85R"]);
    judge(&[
        case(
            69,
            "__new__ looked up on an instance",
            pickle(&[
                &named("copyreg", "__newobj__"),
                &instance,
                &state("__new__", &named("builtins", "list")),
                b"\x85R",
            ]),
            Answer::Mal,
            copyreg(&named("collections", "OrderedDict")),
        ),
        mal(
            69,
            "a class made by type",
            pickle(&[&named("copyreg", "__newobj__"), b"(", &named("builtins", "type"), &text("X"), b")}tR"]),
        ),
        mal(
            70,
            "chains of getattr",
            pickle(&[
                &named("builtins", "getattr"),
                &named("builtins", "getattr"),
                &named("torch", "Tensor"),
                &text("storage"),
                b"\x86R",
                &text("system"),
                b"\x86R",
            ]),
        ),
        mal(
            70,
            "a call of what getattr gave",
            pickle(&[&named("builtins", "getattr"), &named("torch", "Tensor"), &text("map_"), b"\x86R", ARGS]),
        ),
    ]);
}

#[test]
fn templates_are_found_in_files_that_break_or_go_too_deep() {
    let bad = r#"{"chat_template": "{{ ''.__class__ }}""#;
    let good = br#"{"chat_template": "{{ bos_token }}"}"#.to_vec();
    let deep = format!("{bad}, \"x\": {}{}}}", "[".repeat(200), "]".repeat(200));
    let long = [b"{{ a }}".repeat(200_000), b"{{ ''.__class__ }}".to_vec()].concat();
    let wide = format!("{{{{ {} ''.__class__ }}}}", "a+".repeat(100_000));
    let named = r"{{ x['\N{LOW LINE}_class__'] }}";
    judge(&[
        case(71, "JSON deeper than we read", deep.into_bytes(), Answer::Mal, good.clone())
            .called("tokenizer_config.json"),
        case(71, "JSON that breaks after it", format!("{bad}, x}}").into_bytes(), Answer::Mal, good)
            .called("tokenizer_config.json"),
        case(71, "a template longer than we read", long, Answer::AtLeastSus, b"{{ a }}".repeat(2)).called("a.jinja"),
        case(71, "an expression longer than we read", wide.into_bytes(), Answer::AtLeastSus, b"{{ a+a }}".to_vec())
            .called("a.jinja"),
        case(71, "an underscore by its name", named.into(), Answer::Mal, b"{{ x['a'] }}".to_vec()).called("a.jinja"),
    ]);
}

#[test]
fn a_handler_in_a_model_archive_is_judged_as_the_code_it_is() {
    let manifest = |handler: &str| format!(r#"{{"runtime": "python", "model": {{"handler": "{handler}"}}}}"#);
    let mar = |handler: &str, code: &[u8]| {
        let manifest = Member::stored("MAR-INF/MANIFEST.json", manifest(handler).as_bytes());
        scan("model.mar", &zip(&[manifest, Member::stored("serve.py", code)]))
    };
    let rules = |scan: casemate_artifact::Scan| scan.findings.into_iter().map(|f| f.rule).collect::<Vec<_>>();
    assert!(rules(mar("serve.py", b"import os\nos.system('true')\n")).contains(&"python-dangerous-call".to_owned()));
    assert!(rules(mar("../serve.py", b"pass\n")).contains(&"path-escape".to_owned()));
    assert!(rules(mar("import os; os.system('true')", b"pass\n")).contains(&"remote-code-reference".to_owned()));
    assert_eq!(mar("serve.py", b"def handle(data, context):\n    return data\n").verdict, Verdict::Clean);
}

#[test]
fn profiles_of_libraries_open_no_door() {
    let empty = |module: &str, name: &str, state: &[u8]| [&named(module, name)[..], b")\x81", state, b"b"].concat();
    let field = |key: &str, value: &[u8]| [&b"}"[..], &text(key), value, b"s"].concat();
    let rebuild = |function: &[u8], args: &[u8]| {
        let (start, class) = (named("torch._tensor", "_rebuild_from_type_v2"), named("numpy", "ndarray"));
        pickle(&[&start, b"(", function, &class, args, b"NtR"])
    };
    let transformer = ("sklearn.preprocessing._function_transformer", "FunctionTransformer");
    let holding = |function: &[u8]| pickle(&[&empty(transformer.0, transformer.1, &field("func", function))]);
    let series = |tail: &[u8]| pickle(&[&empty("pandas", "Series", &field("name", b"N")), tail]);
    let booster = named("xgboost.core", "Booster");
    let source = field("_parse_arg_template", &text("import os"));
    judge(&[
        case(
            72,
            "a distribution whose state is source text",
            pickle(&[&empty("scipy.stats._continuous_distns", "norm_gen", &source)]),
            Answer::Mal,
            pickle(&[&empty("scipy.sparse._csr", "csr_matrix", &field("maxprint", b"K\x32"))]),
        ),
        case(
            72,
            "a transformer that holds a shell",
            holding(&named("os", "system")),
            Answer::Mal,
            holding(&named("numpy", "log1p")),
        ),
        mal(72, "a transformer that holds a loader", holding(&named("torch.storage", "_load_from_bytes"))),
        mal(
            72,
            "a constructor that opens files, handed on",
            rebuild(&booster, &[b"}N", &text("/x")[..], b"\x87"].concat()),
        ),
        case(
            72,
            "a constructor that opens files, with arguments",
            pickle(&[&booster, b"}N", &text("/x"), b"\x87\x81"]),
            Answer::Mal,
            pickle(&[&booster, b")\x81}", &text("handle"), b"Nsb"]),
        ),
        case(
            73,
            "a view on memory of the file's choosing",
            rebuild(
                &named("numpy", "asarray"),
                &[&empty("collections", "Counter", &field("__array_interface__", b"}"))[..], b"\x85"].concat(),
            ),
            Answer::AtLeastSus,
            rebuild(&named("torch._utils", "_rebuild_tensor_v2"), b")"),
        ),
        case(73, "items of a series", series(b"K\0K\x01s"), Answer::Mal, series(b"")),
        mal(73, "items of an array", pickle(&[&named("numpy", "ndarray"), b"K\x01\x85\x85RK\0K\x01s"])),
    ]);
}
