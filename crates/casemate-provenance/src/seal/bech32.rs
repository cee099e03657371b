//! Bech32 without a limit of length: how age writes keys. Source: BIP 173; age uses its checksum, not that of BIP 350.

use zeroize::Zeroizing;

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// `bytes` under the human-readable `prefix`, in lower case.
pub(super) fn encode(prefix: &str, bytes: &[u8]) -> String {
    let mut groups = regroup(bytes, 8, 5, true).unwrap_or_default();
    let sum = polymod(prefix, groups.iter().copied().chain([0; 6])) ^ 1;
    let checksum = (0..6).map(|n| u8::try_from(sum >> (5 * (5 - n)) & 31).unwrap_or_default());
    groups.extend(checksum);
    let letters = groups.iter().map(|group| char::from(ALPHABET.get(usize::from(*group)).copied().unwrap_or(b'q')));
    [prefix, "1"].into_iter().flat_map(str::chars).chain(letters).collect()
}

/// The bytes of `text`, when its prefix is `prefix` and its checksum holds. Upper or lower case, not mixed.
pub(super) fn decode(prefix: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) && text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let text = Zeroizing::new(text.to_ascii_lowercase());
    let letters = text.strip_prefix(prefix)?.strip_prefix('1')?;
    let group = |letter| ALPHABET.iter().position(|known| *known == letter).and_then(|at| u8::try_from(at).ok());
    let groups = Zeroizing::new(letters.bytes().map(group).collect::<Option<Vec<u8>>>()?);
    if polymod(prefix, groups.iter().copied()) != 1 {
        return None;
    }
    let (data, _) = groups.split_at_checked(groups.len().checked_sub(6)?)?;
    regroup(data, 5, 8, false)
}

/// The checksum of a prefix and groups of five bits.
fn polymod(prefix: &str, groups: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = prefix.bytes().map(|byte| byte >> 5);
    let low = prefix.bytes().map(|byte| byte & 31);
    let mut sum: u32 = 1;
    for value in high.chain([0]).chain(low).chain(groups) {
        let top = sum >> 25;
        sum = (sum & 0x01ff_ffff) << 5 ^ u32::from(value);
        for (n, term) in GENERATOR.iter().enumerate() {
            sum ^= if top >> n & 1 == 1 { *term } else { 0 };
        }
    }
    sum
}

/// Bits of groups of `from`, in groups of `to`. Without `pad` a rest must be shorter than a group and zero.
fn regroup(groups: &[u8], from: u32, to: u32, pad: bool) -> Option<Zeroizing<Vec<u8>>> {
    let (mut waiting, mut bits) = (0u32, 0);
    let mut out = Zeroizing::new(Vec::with_capacity(groups.len() * 2));
    for group in groups {
        waiting = (waiting << from | u32::from(*group)) & 0xfff;
        bits += from;
        while bits >= to {
            bits -= to;
            out.push(u8::try_from(waiting >> bits & ((1 << to) - 1)).ok()?);
        }
    }
    let rest = waiting & ((1 << bits) - 1);
    match pad {
        true if bits > 0 => out.push(u8::try_from(rest << (to - bits)).ok()?),
        false if bits >= from || rest != 0 => return None,
        _ => {}
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn valid_strings_of_bip_173_are_read_and_broken_ones_are_not() {
        assert!(decode("a", "A12UEL5L").is_some());
        assert!(decode("abcdef", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw").is_some());
        for (prefix, text) in [("a", "A12UeL5L"), ("a", "a12uel5m"), ("b", "a12uel5l"), ("a", "a12uel5b"), ("a", "a1")]
        {
            assert!(decode(prefix, text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_one_changed_letter_is_seen(bytes in proptest::collection::vec(any::<u8>(), 0..80), at: usize) {
            let text = encode("age", &bytes);
            prop_assert_eq!(decode("age", &text).map(|bytes| bytes.to_vec()), Some(bytes));
            let at = 4 + at % (text.len() - 4);
            let mut changed = text.into_bytes();
            changed[at] = if changed[at] == b'q' { b'p' } else { b'q' };
            prop_assert_eq!(decode("age", &String::from_utf8(changed).unwrap()), None);
        }

        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _ = decode("age", &text);
        }
    }
}
