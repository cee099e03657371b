//! Names that promise another format, hooks of Python's start, arrays of objects: 49, 63, 64.

use super::{Answer, Sample, Technique, alone, around, pair, technique};
use crate::common::{Member, harmless, hostile, npy, torch_zip, zip};

pub fn techniques() -> Vec<Technique> {
    vec![
        technique(49, "a wrong, missing or upper-case extension", renamed()).near("model.bin", harmless()),
        technique(63, "a hook of Python's start under torch's extension", hooks())
            .near("model.py", b"import os; os.getcwd()\n".to_vec()),
        technique(64, "arrays of objects, headers that lie", arrays()),
    ]
}

fn renamed() -> Vec<Sample> {
    let mut samples = Vec::new();
    for ending in [
        ".bin",
        ".pt",
        ".txt",
        ".h5",
        ".json",
        ".npy",
        ".PT",
        "",
        ".safetensors",
        ".onnx",
        ".gguf",
        ".PKL",
        ".md",
        ".tflite",
        ".keras",
        ".yaml",
        ".tar",
        ".7z",
    ] {
        let name = format!("model{ending}");
        samples.push(pair(&format!("a pickle as `{name}`"), hostile(), harmless_under(&name)).called(&name));
        let archive = pair(&format!("a torch zip as `{name}`"), torch_zip(&hostile()), harmless_under(&name));
        samples.push(archive.called(&name));
    }
    samples
}

/// What a name promises, where that is plain enough; else nothing at all.
fn harmless_under(name: &str) -> Vec<u8> {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("bin" | "pt" | "PT" | "PKL") => harmless(),
        Some("txt" | "md" | "yaml") => b"plain: text\n".to_vec(),
        Some("json") => b"{\"a\": 1}".to_vec(),
        _ => Vec::new(),
    }
}

fn hooks() -> Vec<Sample> {
    let twin = || b"/usr/lib/extra\n".to_vec();
    vec![
        pair("`import`, a blank", b"import os; os.system('echo x')\n".to_vec(), twin()).called("model.pth"),
        pair("`import`, a tab", b"import\tos; os.system('echo x')\n".to_vec(), twin()).called("model.pth"),
        pair("on a later line", b"/usr/lib/extra\nimport os; os.system('echo x')\n".to_vec(), twin())
            .called("model.PTH"),
    ]
}

fn arrays() -> Vec<Sample> {
    let header =
        |descr: &str, shape: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let objects = |pickle: &[u8]| npy(&header("'|O'", "(1,)"), pickle);
    let structured = |pickle: &[u8]| npy(&header("[('a', '<f4'), ('b', '|O')]", "(1,)"), pickle);
    let floats = npy(&header("'<f4'", "(2,)"), &[0; 8]);
    let long = [&b"\x93NUMPY\x02\x00"[..], &0x8000_0000u32.to_le_bytes(), b"{}"].concat();
    let wide = npy(&header("'<f4'", "(4611686018427387904, 4)"), &[0; 8]);
    let malformed = |what: &str, bytes: Vec<u8>| Sample {
        twin: floats.clone(),
        ..alone(what, bytes).called("a.npy").must_be(Answer::Malformed)
    };
    vec![
        around("an object array", "a.npy", objects),
        around("an object field", "a.npy", structured),
        around("in an npz", "a.npz", |pickle| zip(&[Member::stored("a.npy", &objects(pickle))])),
        around("a structured array in an npz", "a.npz", |pickle| zip(&[Member::stored("a.npy", &structured(pickle))])),
        malformed("a header of 2 GiB", long),
        malformed("a shape whose product overflows", wide),
    ]
}
