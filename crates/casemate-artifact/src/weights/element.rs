//! Element types whose numbers can be read, by the words the formats have for them.
//!
//! Sources: the safetensors README, `ggml.h`, `onnx.proto3`, `numpy/lib/format.py`, the OCP 8-bit floating point
//! specification 1.0 (E4M3, E5M2).

/// An element type whose numbers can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F64,
    F32,
    F16,
    Bf16,
    E4m3,
    E5m2,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
}

/// A kind and the order of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) kind: Kind,
    pub(super) big_endian: bool,
}

impl Element {
    /// The element a format's word stands for; `None` where its numbers are not read: blocks, complex, texts, records.
    pub(super) fn of(format: &str, word: &str) -> Option<Self> {
        let (word, big_endian) = match word.strip_prefix('>') {
            Some(word) => (word, true),
            None => (word.trim_start_matches(['<', '=', '|']), false),
        };
        let kind = match format {
            "npy" => numpy(word),
            "paddle-parameters" => paddle(word),
            _ => common(word),
        };
        kind.map(|kind| Self { kind, big_endian })
    }

    /// Bytes of one element.
    pub(super) fn bytes(self) -> usize {
        match self.kind {
            Kind::F64 | Kind::I64 | Kind::U64 => 8,
            Kind::F32 | Kind::I32 | Kind::U32 => 4,
            Kind::F16 | Kind::Bf16 | Kind::I16 | Kind::U16 => 2,
            Kind::E4m3 | Kind::E5m2 | Kind::I8 | Kind::U8 => 1,
        }
    }

    /// Whether it is a floating point number, and so may be a weight as trained.
    pub(super) fn is_float(self) -> bool {
        matches!(self.kind, Kind::F64 | Kind::F32 | Kind::F16 | Kind::Bf16 | Kind::E4m3 | Kind::E5m2)
    }
}

/// Words of safetensors, GGUF, ONNX, HDF5 and torch storages; no two formats mean different things by one of them.
fn common(word: &str) -> Option<Kind> {
    Some(match word {
        "F64" | "DOUBLE" | "FLOAT64" | "float64" | "DoubleStorage" => Kind::F64,
        "F32" | "FLOAT" | "FLOAT32" | "float32" | "FloatStorage" => Kind::F32,
        "F16" | "FLOAT16" | "float16" | "HalfStorage" => Kind::F16,
        "BF16" | "BFLOAT16" | "BFloat16Storage" => Kind::Bf16,
        "F8_E4M3" | "FLOAT8E4M3FN" => Kind::E4m3,
        "F8_E5M2" | "FLOAT8E5M2" => Kind::E5m2,
        "I64" | "INT64" | "LongStorage" => Kind::I64,
        "I32" | "INT32" | "IntStorage" => Kind::I32,
        "I16" | "INT16" | "ShortStorage" => Kind::I16,
        "I8" | "INT8" | "CharStorage" => Kind::I8,
        "U64" | "UINT64" => Kind::U64,
        "U32" | "UINT32" => Kind::U32,
        "U16" | "UINT16" => Kind::U16,
        "U8" | "UINT8" | "BOOL" | "ByteStorage" | "BoolStorage" => Kind::U8,
        _ => return None,
    })
}

fn numpy(word: &str) -> Option<Kind> {
    Some(match word {
        "f8" => Kind::F64,
        "f4" => Kind::F32,
        "f2" => Kind::F16,
        "i8" => Kind::I64,
        "i4" => Kind::I32,
        "i2" => Kind::I16,
        "i1" => Kind::I8,
        "u8" => Kind::U64,
        "u4" => Kind::U32,
        "u2" => Kind::U16,
        "u1" | "b1" => Kind::U8,
        _ => return None,
    })
}

/// Numbers of `VarType` in `framework.proto`.
fn paddle(word: &str) -> Option<Kind> {
    Some(match word {
        "0" | "20" => Kind::U8,
        "1" => Kind::I16,
        "2" => Kind::I32,
        "3" => Kind::I64,
        "4" => Kind::F16,
        "5" => Kind::F32,
        "6" => Kind::F64,
        "21" => Kind::I8,
        "22" => Kind::Bf16,
        _ => return None,
    })
}

/// The value of a half (IEEE 754 binary16), without a branch: the bits as a binary32 of too small an exponent, scaled up,
/// which is exact for subnormals too; the largest exponent stays infinity or no number.
#[inline]
pub(super) fn half(bits: u16) -> f32 {
    const SCALE: f32 = f32::from_bits(0x7780_0000); // 2^112
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * SCALE;
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | special | u32::from(bits & 0x8000) << 16)
}

/// The value of an E4M3 byte: no infinity, one pattern that is no number.
pub(super) fn e4m3(bits: u8) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 3 & 15), f32::from(bits & 7));
    let magnitude = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => fraction * 2f32.powi(-9),
        _ => (8.0 + fraction) * 2f32.powi(exponent - 10),
    };
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

/// The value of an E5M2 byte: the upper half of a binary16.
pub(super) fn e5m2(bits: u8) -> f32 {
    half(u16::from(bits) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_have_their_values() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f32.powi(-24)),
            (0x03ff, 1023.0 * 2f32.powi(-24)),
            (0x0400, 2f32.powi(-14)),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:#x}");
        }
        assert!(half(0x7e00).is_nan() && half(0x7c01).is_nan());
        assert_eq!(half(0x8000).to_bits(), (-0.0f32).to_bits());
    }

    #[test]
    fn bytes_of_both_eight_bit_forms_have_their_values() {
        for (bits, value) in
            [(0x00, 0.0), (0x38, 1.0), (0xc0, -2.0), (0x7e, 448.0), (0x01, 2f32.powi(-9)), (0x08, 2f32.powi(-6))]
        {
            assert_eq!(e4m3(bits), value, "{bits:#x}");
        }
        assert!(e4m3(0x7f).is_nan() && e4m3(0xff).is_nan());
        assert_eq!((e5m2(0x3c), e5m2(0x7b), e5m2(0x01)), (1.0, 57344.0, 2f32.powi(-16)));
        assert_eq!(e5m2(0x7c), f32::INFINITY);
    }

    #[test]
    fn one_word_in_two_formats_may_be_two_types() {
        let of = |format, word| Element::of(format, word).map(|element| (element.kind, element.big_endian));
        assert_eq!(of("npy", "<i8"), Some((Kind::I64, false)));
        assert_eq!(of("npy", ">f4"), Some((Kind::F32, true)));
        assert_eq!(of("safetensors", "I8"), Some((Kind::I8, false)));
        assert_eq!(of("gguf", ">F16"), Some((Kind::F16, true)));
        assert_eq!(of("gguf", "Q4_K"), None);
        assert_eq!(of("paddle-parameters", "5"), Some((Kind::F32, false)));
        assert_eq!(of("onnx", "5"), None);
    }
}
