//! One header of a tar archive, and the records of pax.

/// What a header of 512 bytes says.
pub(super) struct Header {
    pub(super) name: String,
    pub(super) link: String,
    pub(super) kind: u8,
    pub(super) size: u64,
    /// Whether the sum is right only where bytes above 127 count as negative.
    pub(super) signed_only: bool,
    /// Whether a size stands where there is no data, which some readers skip all the same.
    pub(super) needless_size: bool,
}

impl Header {
    /// The header in a block, if its sum is right and its size is a number.
    pub(super) fn parse(block: &[u8; 512]) -> Option<Self> {
        let field = |at: usize, len: usize| block.get(at..at + len).unwrap_or_default();
        let written = number(field(148, 8))?;
        // The sum is taken with blanks in its own place.
        let bytes = || block.iter().enumerate().map(|(i, byte)| if (148..156).contains(&i) { b' ' } else { *byte });
        let unsigned: u64 = bytes().map(u64::from).sum();
        let signed: i64 = bytes().map(|byte| i64::from(i8::from_le_bytes([byte]))).sum();
        let signed_fits = u64::try_from(signed) == Ok(written);
        if written != unsigned && !signed_fits {
            return None;
        }
        let (mut name, prefix) = (text(field(0, 100)), text(field(345, 155)));
        // GNU tar keeps times where POSIX has the rest of the name.
        if field(257, 6) == b"ustar\0" && !prefix.is_empty() {
            name = format!("{prefix}/{name}");
        }
        if name.is_empty() {
            return None;
        }
        let kind = *block.get(156)?;
        let size = number(field(124, 12))?;
        // Links and directories have no data whatever their size says.
        let needless_size = matches!(kind, b'1'..=b'6') && size != 0;
        let size = if needless_size { 0 } else { size };
        Some(Self { name, link: text(field(157, 100)), kind, size, signed_only: written != unsigned, needless_size })
    }
}

/// Text up to the first NUL.
pub(super) fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// An octal number between blanks and NULs, or GNU's base 256.
fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, rest @ ..] = field {
        return rest.iter().try_fold(0u64, |n, byte| n.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let digits = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    digits.iter().try_fold(0u64, |n, digit| match digit {
        b'0'..=b'7' => n.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// The records `length key=value\n` of a pax header.
pub(super) fn pax(mut bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut records = Vec::new();
    while bytes.first().is_some_and(|byte| *byte != 0) {
        let blank = bytes.iter().position(|byte| *byte == b' ')?;
        let len: usize = std::str::from_utf8(bytes.get(..blank)?).ok()?.parse().ok()?;
        let record = bytes.get(blank + 1..len)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        records.push((text(record.get(..equals)?), text(record.get(equals + 1..)?)));
        bytes = bytes.get(len..)?;
    }
    Some(records)
}
