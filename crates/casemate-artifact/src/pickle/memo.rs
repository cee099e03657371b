//! The memo: slots a stream writes and reads by number.
//!
//! PUT may name any slot up to 2^32, MEMOIZE writes slot `len(memo)`; so consecutive slots lie in a vector and stray ones
//! in a map, and neither costs more than what was written.

use std::collections::BTreeMap;

use super::value::Value;

#[derive(Default)]
pub(super) struct Memo {
    dense: Vec<Value>,
    stray: BTreeMap<u64, Value>,
}

impl Memo {
    /// Slots written so far: what MEMOIZE uses as its index.
    pub(super) fn len(&self) -> u64 {
        (self.dense.len() + self.stray.len()) as u64
    }

    pub(super) fn put(&mut self, index: u64, value: Value) {
        match usize::try_from(index).ok() {
            Some(slot) if slot == self.dense.len() => {
                self.stray.remove(&index);
                self.dense.push(value);
            }
            Some(slot) if slot < self.dense.len() => {
                if let Some(old) = self.dense.get_mut(slot) {
                    *old = value;
                }
            }
            _ => {
                self.stray.insert(index, value);
            }
        }
    }

    pub(super) fn get(&self, index: u64) -> Option<&Value> {
        usize::try_from(index).ok().and_then(|slot| self.dense.get(slot)).or_else(|| self.stray.get(&index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memoize_writes_the_number_of_slots_not_the_highest_index() {
        let mut memo = Memo::default();
        memo.put(7, Value::Int(7));
        memo.put(9, Value::Int(9));
        assert_eq!(memo.len(), 2);
        memo.put(memo.len(), Value::Int(2));
        assert!(matches!(memo.get(2), Some(Value::Int(2))));
    }

    #[test]
    fn a_slot_written_twice_counts_once_and_keeps_the_last_value() {
        let mut memo = Memo::default();
        for (index, value) in [(1, 10), (0, 11), (1, 12), (1, 13)] {
            memo.put(index, Value::Int(value));
        }
        assert_eq!(memo.len(), 2);
        assert!(matches!(memo.get(1), Some(Value::Int(13))));
    }
}
