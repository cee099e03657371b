//! Models planted in a tree of our own, where each must be found: a sweep that has never been shown to find one is no evidence.

use std::fs;
use std::path::Path;

use casemate_core::Limits;
use casemate_provenance::sha256;

use super::reference::{KnownFile, Standing};
use super::{Inventory, Reference, Sweep};
use crate::context::Context;
use crate::filters::Filters;
use crate::report::RegistrationStatus;

/// How many models were planted under `state`, and how many of them the sweep found and judged rightly. None where nothing could
/// be planted.
pub fn self_test(context: &Context, state: &Path) -> (u64, u64) {
    let root = state.join(format!("self-test-{}", std::process::id()));
    let result = fs::create_dir(&root).ok().and_then(|()| planted(context, &root).ok());
    let _ = fs::remove_dir_all(&root);
    result.unwrap_or((0, 0))
}

fn planted(context: &Context, root: &Path) -> std::io::Result<(u64, u64)> {
    let (known, held) = (safetensors(1), safetensors(2));
    let mut reference = Reference::default();
    for (path, content, standing) in [
        ("planted/known.safetensors", &known, Standing::Recorded),
        ("held/back.safetensors", &held, Standing::Quarantined),
    ] {
        let sha256 = sha256(content);
        reference.register(KnownFile { model: "planted".into(), path: path.into(), sha256, standing });
    }
    let layer = tar("app/model.onnx", &safetensors(4));
    let plants: [(&str, Vec<u8>, Option<&str>, RegistrationStatus); 6] = [
        (".cache/.hidden/blobs/0f3a", safetensors(3), None, RegistrationStatus::Unregistered),
        ("image.bin", tar("layer.tar", &layer), Some("layer.tar!app/model.onnx"), RegistrationStatus::Unregistered),
        ("notes.txt", b"\x80\x02}q\0.".to_vec(), None, RegistrationStatus::Unregistered),
        ("copy/planted/known.safetensors", safetensors(5), None, RegistrationStatus::Altered),
        ("images/harmless.png", held, None, RegistrationStatus::Quarantined),
        ("again/other-name", known, None, RegistrationStatus::Known),
    ];
    for (name, bytes, ..) in &plants {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        fs::write(path, bytes)?;
    }
    let (limits, filters) = (Limits::default(), Filters::default());
    let sweep = Sweep { reference: &reference, limits: &limits, filters: &filters, state: None };
    let inventory = Inventory::take(context, &[(".".into(), root.to_owned())], &sweep);
    let caught = plants.iter().filter(|(name, _, member, status)| {
        inventory.models.iter().any(|model| {
            let registered = model.registration.as_ref().map(|registration| registration.status);
            model.path == *name && model.member.as_deref() == *member && registered == Some(*status)
        })
    });
    Ok((plants.len() as u64, caught.count() as u64))
}

/// A safetensors file with one number.
fn safetensors(number: u8) -> Vec<u8> {
    let header = br#"{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.push(number);
    bytes
}

/// A tar archive with one member (POSIX ustar).
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    let mut field = |text: &str, width: usize| {
        header.extend(text.bytes().chain(std::iter::repeat(0)).take(width));
    };
    field(name, 100);
    field("0000644", 8);
    field("0000000", 8);
    field("0000000", 8);
    field(&format!("{:011o}", content.len()), 12);
    field("00000000000", 12);
    // The sum is of the header with blanks in the place of the sum.
    field("        ", 8);
    field("0", 1);
    field("", 100);
    field("ustar", 6);
    field("00", 2);
    field("", 247);
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    header.splice(148..156, sum.into_bytes());
    let padding = content.len().next_multiple_of(512) - content.len();
    [header.as_slice(), content, &vec![0; padding + 1024]].concat()
}
