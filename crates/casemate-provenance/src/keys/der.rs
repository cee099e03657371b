//! Just enough DER (X.690) to look into key files: tag, length, value, each checked against what is there.

/// Universal tags.
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// What is left to read of some DER.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: its tag, its value, and the whole of it.
    pub(crate) fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let before = self.0;
        let (tag, rest) = before.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match *first {
            short @ 0..=0x7f => (usize::from(short), rest),
            // Four bytes of length are more than any key needs; indefinite lengths are not DER.
            long @ 0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, value, before.get(..before.len() - rest.len())?))
    }

    /// The value of the next element, if it has this tag; else it stays unread.
    pub(crate) fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (found, value, _) = ahead.next()?;
        (found == tag).then(|| {
            *self = ahead;
            value
        })
    }

    /// A reader of what is inside the next element, which has this tag.
    pub(crate) fn inside(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.value(tag).map(Reader)
    }

    /// The next element as a number that fits 32 bits and is not negative.
    pub(crate) fn number(&mut self) -> Option<u32> {
        let bytes = self.value(INTEGER)?;
        let bytes = bytes.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(bytes);
        match bytes {
            [] | [_, _, _, _, _, ..] => None,
            bytes => Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))),
        }
    }
}

/// `value` as an element with this tag.
pub(crate) fn element(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match value.len() {
        short @ 0..=0x7f => out.push(u8::try_from(short).unwrap_or(0)),
        long => {
            let bytes = long.to_be_bytes();
            let digits = bytes.into_iter().skip_while(|byte| *byte == 0);
            out.push(0x80 | u8::try_from(digits.clone().count()).unwrap_or(0));
            out.extend(digits);
        }
    }
    out.extend(value);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_beyond_what_is_there_are_no_value() {
        for bad in [&[][..], &[0x04], &[0x04, 0x01], &[0x04, 0x80], &[0x04, 0x84, 0xff, 0xff, 0xff, 0xff], &[4, 0x85]] {
            assert_eq!(Reader(bad).value(OCTET_STRING), None, "{bad:?}");
        }
    }

    #[test]
    fn numbers_are_small_and_not_negative_by_accident() {
        assert_eq!(Reader(&[2, 1, 5]).number(), Some(5));
        assert_eq!(Reader(&[2, 3, 0, 0x88, 0]).number(), Some(0x8800));
        assert_eq!(Reader(&[2, 5, 1, 0, 0, 0, 0]).number(), None);
        assert_eq!(Reader(&[2, 0]).number(), None);
    }

    proptest! {
        #[test]
        fn elements_come_back(value in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let element = element(OCTET_STRING, &value);
            let mut reader = Reader(&element);
            prop_assert_eq!(reader.value(OCTET_STRING), Some(value.as_slice()));
            prop_assert!(reader.0.is_empty());
        }

        #[test]
        fn arbitrary_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut reader = Reader(&bytes);
            while reader.inside(SEQUENCE).or_else(|| reader.inside(OCTET_STRING)).is_some() {}
            let _ = reader.number();
        }
    }
}
