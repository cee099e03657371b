//! One labelled block of PEM (RFC 7468, strict form): what key files hold.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// `der` as PEM in lines of 64 characters.
pub(crate) fn encode(der: &[u8], label: &str) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let body = STANDARD.encode(der);
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// Every block of `text`, label and bytes, with nothing but white space around them.
pub(super) fn blocks(text: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    const BLOCKS_MAX: usize = 64;
    let mut rest = std::str::from_utf8(text).ok()?.trim();
    let mut blocks = Vec::new();
    while !rest.is_empty() && blocks.len() < BLOCKS_MAX {
        let (label, after) = rest.strip_prefix("-----BEGIN ")?.split_once("-----")?;
        let (body, after) = after.split_once("-----END ")?;
        rest = after.strip_prefix(label)?.strip_prefix("-----")?.trim_start();
        let body: String = body.lines().map(str::trim).collect();
        blocks.push((label.to_owned(), STANDARD.decode(body).ok()?));
    }
    rest.is_empty().then_some(blocks)
}

/// The bytes of the only block in `text`, when its label is `label`.
pub(crate) fn decode(text: &[u8], label: &str) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let text = text.strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let body = text.strip_suffix(&format!("-----END {label}-----"))?;
    let body: String = body.lines().map(str::trim).collect();
    STANDARD.decode(body).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_come_back_from_lines_of_64(der in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = encode(&der, "KEY");
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            prop_assert_eq!(decode(text.as_bytes(), "KEY"), Some(der));
            prop_assert_eq!(decode(text.as_bytes(), "OTHER"), None);
        }

        #[test]
        fn arbitrary_text_is_read_without_panic(text: Vec<u8>) {
            let _ = decode(&text, "KEY");
            let _ = blocks(&text);
        }
    }
}
