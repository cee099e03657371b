//! joblib's arrays: raw bytes in the middle of a stream.
//!
//! After the BUILD of a `NumpyArrayWrapper` joblib's reader takes the array from the file before it goes on with opcodes: one
//! byte and as many 0xff where the wrapper has an alignment, then shape times element size; a nested pickle where elements are
//! objects. We skip exactly these bytes, and stop wherever the wrapper does not tell plainly how many they are, since the
//! next opcode could then be anywhere. The older `NDArrayWrapper` names another file instead.
//!
//! Source: joblib 1.6 `numpy_pickle.py`, `numpy_pickle_compat.py`. CVE-2024-34997 is the pickle in a cached array.

use std::collections::HashMap;
use std::rc::Rc;

use super::{EMBEDDED_MAX, Embedded, End, Machine, Reading, Stop, error, run};
use crate::formats::npy_kind;
use crate::pickle::event::Global;
use crate::pickle::value::{Tuple, Value};
use crate::{Malformed, Trouble};

/// What is known of the arrays of a stream.
#[derive(Default)]
pub(super) struct Arrays {
    /// Element types by the number of the call that made them.
    dtypes: HashMap<u32, Dtype>,
    /// Dictionaries on the stack that can only be reached there so far: where they stand, and their items.
    dicts: Vec<(usize, Vec<Value>)>,
    /// The wrapper whose array comes next.
    due: Option<Wrapper>,
}

#[derive(Clone, Copy)]
struct Dtype {
    bytes: u64,
    has_objects: bool,
    /// Whether the state may give it another size.
    flexible: bool,
}

/// Bytes to skip, or none for objects.
struct Wrapper {
    bytes: Option<u64>,
    aligned: bool,
}

/// Which class stands for an array.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its bytes follow.
    Inline,
    /// It lies in a file of its own.
    External,
}

/// Element types remembered; a forest of a thousand trees has a few.
const DTYPES_MAX: usize = 1 << 16;
/// Items of a dictionary that could be a wrapper's state.
const ITEMS_MAX: usize = 32;
/// Dictionaries in dictionaries that are followed.
const DICTS_MAX: usize = 4096;
/// NPY_ITEM_HASOBJECT among the flags of a dtype.
const HAS_OBJECTS: i64 = 1;

impl Machine<'_> {
    /// Whether a class stands for an array in joblib's streams.
    pub(super) fn array_kind(&self, class: u32) -> Option<Kind> {
        let Global { module, name, .. } = self.global(class)?;
        let module = module.strip_prefix("sklearn.externals.").unwrap_or(module);
        match (module, name.as_str()) {
            ("joblib.numpy_pickle", "NumpyArrayWrapper") => Some(Kind::Inline),
            ("joblib.numpy_pickle" | "joblib.numpy_pickle_compat", "NDArrayWrapper" | "ZNDArrayWrapper") => {
                Some(Kind::External)
            }
            _ => None,
        }
    }

    /// Follows the dictionaries on the stack: `opcode` was executed just now.
    pub(super) fn follow_dicts(&mut self, opcode: u8) {
        let Some(arrays) = self.arrays.as_mut() else { return };
        let height = self.stack.len();
        while arrays.dicts.last().is_some_and(|(at, _)| *at >= height) {
            arrays.dicts.pop();
        }
        if opcode == b'}' && arrays.dicts.len() < DICTS_MAX {
            arrays.dicts.push((height.saturating_sub(1), Vec::new()));
        }
    }

    /// Remembers the items of the dictionary now on top. One that was reached through the memo may be any of them.
    pub(super) fn keep_items(&mut self, items: &[Value]) {
        let Some(arrays) = self.arrays.as_mut() else { return };
        let top = self.stack.len().saturating_sub(1);
        while arrays.dicts.last().is_some_and(|(at, _)| *at > top) {
            arrays.dicts.pop();
        }
        match arrays.dicts.last_mut() {
            Some((at, kept)) if *at == top && kept.len() + items.len() <= ITEMS_MAX => kept.extend_from_slice(items),
            _ => arrays.dicts.clear(),
        }
    }

    /// Remembers an element type when `numpy.dtype(word, …)` is called.
    pub(super) fn keep_dtype(&mut self, callee: u32, instance: u32, args: &Value) -> Result<(), Stop> {
        let is_dtype = self.global(callee).is_some_and(|of| of.module == "numpy" && of.name == "dtype");
        let Value::Tuple(tuple) = args else { return Ok(()) };
        if self.arrays.is_none() || !is_dtype {
            return Ok(());
        }
        let tuple = Rc::clone(tuple);
        let word = match tuple.items.first() {
            Some(word) => self.known_text(word)?,
            None => None,
        };
        let Some((bytes, has_objects)) = word.as_deref().and_then(npy_kind) else { return Ok(()) };
        let flexible =
            word.is_some_and(|word| word.trim_start_matches(['<', '>', '|', '=']).starts_with(['S', 'a', 'U', 'V']));
        let Some(arrays) = self.arrays.as_mut() else { return Ok(()) };
        if arrays.dtypes.len() >= DTYPES_MAX {
            return Err(Stop::Limit(format!("makes more than {DTYPES_MAX} element types")));
        }
        arrays.dtypes.insert(instance, Dtype { bytes, has_objects, flexible });
        Ok(())
    }

    /// What a BUILD means for arrays: the state of an element type, or an array that comes next.
    pub(super) fn build_array(&mut self, target: &Value, state: &Value) -> Result<(), Stop> {
        let Value::ResultOf(class, instance) = target else { return Ok(()) };
        let kind = self.array_kind(*class);
        self.stream.has_arrays |= kind.is_some();
        if self.arrays.is_none() {
            return Ok(());
        }
        match (kind, state) {
            (Some(kind), _) => {
                // The state stood above the wrapper a moment ago.
                let place = self.stack.len();
                let dict = self.arrays.as_mut().and_then(|arrays| arrays.dicts.pop());
                let items = dict.filter(|(at, _)| *at == place).map(|(_, items)| items).unwrap_or_default();
                let state = self.named_items(&items)?;
                match kind {
                    Kind::Inline => self.due(&state),
                    Kind::External => self.external(&state),
                }
            }
            (None, Value::Tuple(state)) => {
                self.finish_dtype(*instance, state);
                Ok(())
            }
            // A state we do not see may change the type.
            _ => {
                self.forget_dtype(*instance);
                Ok(())
            }
        }
    }

    fn forget_dtype(&mut self, instance: u32) {
        if let Some(arrays) = self.arrays.as_mut() {
            arrays.dtypes.remove(&instance);
        }
    }

    /// `dtype.__setstate__((version, order, subdtype, names, fields, size, alignment, flags, …))`.
    fn finish_dtype(&mut self, instance: u32, state: &Tuple) {
        let known = self.arrays.as_mut().and_then(|arrays| arrays.dtypes.get_mut(&instance));
        let Some(dtype) = known else { return };
        match (state.items.get(5), state.items.get(7)) {
            (Some(Value::Int(size)), Some(Value::Int(flags)))
                if !dtype.flexible || u64::try_from(*size) == Ok(dtype.bytes) =>
            {
                dtype.has_objects |= flags & HAS_OBJECTS != 0;
            }
            _ => self.forget_dtype(instance),
        }
    }

    /// The items of a dictionary by key; a key that comes twice is its last value.
    fn named_items(&mut self, items: &[Value]) -> Result<HashMap<String, Value>, Stop> {
        let mut named = HashMap::new();
        for pair in items.chunks_exact(2) {
            let [key, value] = pair else { continue };
            if let Some(key) = self.known_text(key)? {
                named.insert(key, value.clone());
            }
        }
        Ok(named)
    }

    fn due(&mut self, state: &HashMap<String, Value>) -> Result<(), Stop> {
        let aligned = match state.get("numpy_array_alignment_bytes") {
            None => false,
            Some(Value::Int(_)) => true,
            Some(_) => return error("alignment of an array is no number"),
        };
        let dtype = match (state.get("dtype"), &self.arrays) {
            (Some(Value::ResultOf(_, instance)), Some(arrays)) => arrays.dtypes.get(instance).copied(),
            _ => None,
        };
        let (Some(dtype), Some(Value::Tuple(shape))) = (dtype, state.get("shape")) else {
            return error("shape or type of an array is not known, so neither is where it ends");
        };
        let product = shape.items.iter().try_fold(dtype.bytes, |bytes, dim| match dim {
            Value::Int(dim) => bytes.checked_mul(u64::try_from(*dim).ok()?),
            _ => None,
        });
        let Some(bytes) = product.filter(|_| shape.complete) else {
            return error("shape of an array is not a tuple of counts, or their product is too large");
        };
        if let Some(arrays) = self.arrays.as_mut() {
            arrays.due = Some(Wrapper { bytes: (!dtype.has_objects).then_some(bytes), aligned });
        }
        Ok(())
    }

    /// An array of joblib before 0.10: `numpy.load` of the file named, pickles allowed.
    fn external(&mut self, state: &HashMap<String, Value>) -> Result<(), Stop> {
        let name = match state.get("filename") {
            Some(name) => self.known_text(name)?,
            None => None,
        };
        let Some(name) = name else { return error("an array lies in a file whose name is not known") };
        if self.stream.external.len() >= EMBEDDED_MAX {
            return Err(Stop::Limit(format!("names more than {EMBEDDED_MAX} other files")));
        }
        self.stream.external.push((self.op_offset, name.chars().take(4096).collect()));
        Ok(())
    }

    /// Takes the array that is due from the file.
    pub(super) fn skip_array(&mut self) -> Result<(), Stop> {
        let Some(wrapper) = self.arrays.as_mut().and_then(|arrays| arrays.due.take()) else { return Ok(()) };
        if self.frame_end.is_some() {
            let what = "an array begins inside a frame: its bytes come from behind the frame";
            self.stream.malformed.push(Malformed::new(Trouble::Ambiguous, self.op_offset, what));
            return error("an array begins inside a frame");
        }
        match wrapper.bytes {
            None => self.skip_objects()?,
            Some(bytes) => {
                if wrapper.aligned {
                    self.skip_padding()?;
                }
                self.reader.skip(bytes)?;
            }
        }
        // The array takes the place of its wrapper.
        self.pop()?;
        self.push(Value::Data);
        Ok(())
    }

    fn skip_padding(&mut self) -> Result<(), Stop> {
        let len = u64::from(self.reader.u8()?);
        let Some(span) = self.reader.span(len, super::Spelling::Utf8)? else { return Ok(()) };
        if self.reader.peek(span, 255)?.iter().any(|byte| *byte != 0xff) {
            let what = "padding before an array is not 0xff";
            self.stream.malformed.push(Malformed::new(Trouble::Ambiguous, span.offset, what));
        }
        Ok(())
    }

    /// An array of objects is a pickle of its own, read by an ordinary reader.
    fn skip_objects(&mut self) -> Result<(), Stop> {
        let at = self.reader.at;
        if self.stream.embedded.len() >= EMBEDDED_MAX {
            return Err(Stop::Limit(format!("holds more than {EMBEDDED_MAX} arrays of objects")));
        }
        let nested = run(self.source, at, Reading::Plain, self.limits, 0);
        let end = if nested.end == End::Stop { nested.end_offset } else { self.reader.size_bytes() };
        self.embed(Embedded { offset: at, len: end.saturating_sub(at), base64: false, called: true });
        self.reader.skip(end.saturating_sub(at))?;
        match nested.end {
            End::Stop => Ok(()),
            End::Broken => error("an array of objects does not end"),
        }
    }
}
