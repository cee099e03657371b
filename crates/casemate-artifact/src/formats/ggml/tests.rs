//! Models assembled number by number, in each order.

use proptest::prelude::*;

use super::*;
use crate::formats::testing::{
    any_bytes, assert_bounded, assert_whole, hidden, messages, mutants, parse, sniff, troubles,
};

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn word(text: &str) -> Vec<u8> {
    [&numbers(&[text.len().try_into().unwrap()]), text.as_bytes()].concat()
}

/// A tensor whose data begins where `before` and its head end, at a multiple of `alignment`.
fn tensor(before: usize, alignment: usize, kind: u32, dims: &[u32], data: usize) -> Vec<u8> {
    let head = numbers(&[dims.len().try_into().unwrap(), 6, kind]);
    let mut bytes = [&head[..], &numbers(dims), b"weight"].concat();
    bytes.resize((before + bytes.len()).next_multiple_of(alignment) - before, 0);
    bytes.resize(bytes.len() + data, 0x3c);
    bytes
}

fn with_tensors(mut bytes: Vec<u8>, alignment: usize, q4: usize) -> Vec<u8> {
    for (kind, dims, data) in [(0, &[4u32, 2][..], 32), (1, &[3], 6), (0, &[], 4), (2, &[64], 2 * q4)] {
        let tensor = tensor(bytes.len(), alignment, kind, dims, data);
        bytes.extend(tensor);
    }
    bytes
}

/// LLaMA: three words, of which the last may be anything.
fn llama(magic: &[u8], version: Option<u32>, third: &str) -> Vec<u8> {
    let scored = version.is_some();
    let head = [version.map(|n| numbers(&[n])).unwrap_or_default(), numbers(&[3, 64, 32, 2, 1, 8, 2])].concat();
    let mut bytes = [magic, &head].concat();
    for text in ["a", "", third] {
        bytes.extend(word(text));
        bytes.extend(if scored { 1f32.to_le_bytes().to_vec() } else { Vec::new() });
    }
    with_tensors(bytes, if magic == b"tjgg" { 32 } else { 1 }, if version == Some(3) { 18 } else { 20 })
}

fn whisper() -> Vec<u8> {
    let head = numbers(&[3, 1500, 64, 2, 1, 448, 64, 2, 1, 2, 2001]);
    let filters = [numbers(&[2, 3]), vec![0; 24]].concat();
    let words = [numbers(&[2]), word("a"), word("b")].concat();
    with_tensors([&b"lmgg"[..], &head, &filters, &words].concat(), 1, 18)
}

fn silero() -> Vec<u8> {
    let head = [word("silero-16k"), numbers(&[6, 2, 0, 512, 64, 1, 129, 128, 3, 128, 128, 128, 1])].concat();
    with_tensors([&b"lmgg"[..], &head].concat(), 1, 20)
}

#[test]
fn models_of_every_order_are_claimed_whole() {
    let counted = |head: &[u32]| [&b"lmgg"[..], &numbers(head), &numbers(&[1]), &word("x")].concat();
    let uncounted = |head: &[u32]| [&b"lmgg"[..], &numbers(head), &word("x")].concat();
    for bytes in [
        llama(b"lmgg", None, "c"),
        llama(b"fmgg", Some(1), "c"),
        llama(b"tjgg", Some(1), "c"),
        llama(b"tjgg", Some(3), "c"),
        whisper(),
        silero(),
        with_tensors(counted(&[9, 64, 8, 2, 1, 1]), 1, 20),
        with_tensors(counted(&[9, 64, 8, 2, 1, 4, 2002]), 1, 18),
        with_tensors(uncounted(&[1, 64, 8, 2, 1, 4, 1, 2002]), 1, 18),
        with_tensors(uncounted(&[64, 2048, 2, 2, 1, 0, 0, 1]), 1, 20),
        with_tensors([&b"algg"[..], &numbers(&[1, 16, 32])].concat(), 32, 18),
    ] {
        assert_eq!(sniff(&Ggml, &bytes), Sniff::Certain);
        let parsed = parse(&Ggml, &bytes);
        assert_whole(&parsed, &bytes);
        assert_eq!(parsed.tensors.len(), 4, "{}", messages(&parsed));
        assert_eq!(parsed.tensors[0].shape, [4, 2]);
    }
}

#[test]
fn a_template_among_the_words_is_handed_on() {
    let parsed = parse(&Ggml, &llama(b"lmgg", None, "{{ x.__class__ }}"));
    assert_eq!((parsed.texts.len(), parsed.texts[0].text.as_str()), (1, "{{ x.__class__ }}"));
    assert!(parse(&Ggml, &llama(b"lmgg", None, "{{")).texts.is_empty());
}

#[test]
fn what_stands_behind_the_tensors_is_hidden() {
    for bytes in [llama(b"lmgg", None, "c"), whisper(), silero()] {
        let appended = [&bytes[..], b"\x80\x04cos\nsystem\n."].concat();
        let parsed = parse(&Ggml, &appended);
        assert_eq!((troubles(&parsed), hidden(&parsed, &appended).len()), (vec![], 1));
    }
}

#[test]
fn a_cut_tensor_an_unknown_type_and_an_unknown_order_are_told() {
    let whole = silero();
    assert_eq!(troubles(&parse(&Ggml, &whole[..whole.len() - 1])), [Trouble::Ambiguous]);
    let odd = [&silero()[..], &tensor(0, 1, 99, &[1], 4)].concat();
    assert_eq!(troubles(&parse(&Ggml, &odd)), [Trouble::Undecodable]);
    let huge = [&silero()[..], &tensor(0, 1, 0, &[u32::MAX; 4], 4)].concat();
    assert_eq!(troubles(&parse(&Ggml, &huge)), [Trouble::Ambiguous]);
    for strange in [&[&b"lmgg"[..], &[0xff; 60]].concat()[..], b"tjgg\x09\0\0\0\0", b"lmgg\0\0\0\0\0"] {
        assert_eq!(troubles(&parse(&Ggml, strange)), [Trouble::Undecodable]);
    }
    assert_eq!(sniff(&Ggml, b"lmgg"), Sniff::No);
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_within_limits(bytes in any_bytes(b"lmgg\x0a\0\0\0silero-16k\x06\0\0\0")) {
        assert_bounded(&Ggml, &bytes);
    }

    #[test]
    fn mutants_are_parsed_within_limits(bytes in mutants(whisper())) {
        assert_bounded(&Ggml, &bytes);
    }

    #[test]
    fn mutants_of_adapters_are_parsed_within_limits(bytes in mutants(llama(b"tjgg", Some(3), "{{ x }}"))) {
        assert_bounded(&Ggml, &bytes);
    }
}
