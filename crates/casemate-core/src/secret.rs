//! Values that must not be printed, and do not stay in memory.

use std::any::Any;
use std::fmt;

use zeroize::Zeroize as _;

/// Holds a secret; its `Debug` prints `[secret]` and it has no `Display`. Bytes and texts are overwritten when it is dropped;
/// keys of the cryptographic library see to that themselves.
///
/// Callers compare secrets in constant time with the cryptographic library, never with `==`.
#[derive(Clone)]
pub struct Secret<T: 'static>(T);

impl<T: 'static> Secret<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself; each use is a place to review.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: 'static> Drop for Secret<T> {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites the values that are plain bytes.
fn wipe(value: &mut dyn Any) {
    if let Some(bytes) = value.downcast_mut::<Vec<u8>>() {
        bytes.zeroize();
    } else if let Some(text) = value.downcast_mut::<String>() {
        text.zeroize();
    } else if let Some(key) = value.downcast_mut::<[u8; 32]>() {
        key.zeroize();
    } else if let Some(key) = value.downcast_mut::<[u8; 16]>() {
        key.zeroize();
    }
}

impl<T: 'static> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_value() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2"))), "Some([secret])");
    }

    #[test]
    fn bytes_and_texts_are_wiped() {
        let (mut bytes, mut text, mut key, mut short) = (vec![7u8; 9], String::from("hunter2"), [7u8; 32], [7u8; 16]);
        wipe(&mut bytes);
        wipe(&mut text);
        wipe(&mut key);
        wipe(&mut short);
        assert!(bytes.is_empty() && text.is_empty());
        assert_eq!((key, short), ([0; 32], [0; 16]));
        let mut number = 7u64;
        wipe(&mut number);
        assert_eq!(number, 7, "what is no bytes is left to its own type");
    }
}
