//! The fields each message has, by number and wire type (`onnx.proto`). Repeated numbers may be packed or not.

use super::{BYTES, VARINT};
use crate::formats::protobuf::{FIXED32, FIXED64};

/// The fields of one message.
pub(super) struct Schema {
    pub(super) name: &'static str,
    fields: &'static [(u32, u8)],
}

impl Schema {
    /// The wire types a field may have, 0 where there is no such field.
    pub(super) fn wires(&self, number: u32) -> u8 {
        self.fields.iter().find(|(known, _)| *known == number).map_or(0, |(_, wires)| *wires)
    }
}

const NUMBERS: u8 = VARINT | BYTES;

pub(super) static MODEL: Schema = Schema {
    name: "the model",
    fields: &[
        (1, VARINT),
        (2, BYTES),
        (3, BYTES),
        (4, BYTES),
        (5, VARINT),
        (6, BYTES),
        (7, BYTES),
        (8, BYTES),
        (14, BYTES),
        (20, BYTES),
        (25, BYTES),
        (26, BYTES),
    ],
};

pub(super) static GRAPH: Schema = Schema {
    name: "a graph",
    fields: &[
        (1, BYTES),
        (2, BYTES),
        (5, BYTES),
        (10, BYTES),
        (11, BYTES),
        (12, BYTES),
        (13, BYTES),
        (14, BYTES),
        (15, BYTES),
        (16, BYTES),
    ],
};

pub(super) static NODE: Schema = Schema {
    name: "a node",
    fields: &[
        (1, BYTES),
        (2, BYTES),
        (3, BYTES),
        (4, BYTES),
        (5, BYTES),
        (6, BYTES),
        (7, BYTES),
        (8, BYTES),
        (9, BYTES),
        (10, BYTES),
    ],
};

pub(super) static ATTRIBUTE: Schema = Schema {
    name: "an attribute",
    fields: &[
        (1, BYTES),
        (2, FIXED32),
        (3, VARINT),
        (4, BYTES),
        (5, BYTES),
        (6, BYTES),
        (7, FIXED32 | BYTES),
        (8, NUMBERS),
        (9, BYTES),
        (10, BYTES),
        (11, BYTES),
        (13, BYTES),
        (14, BYTES),
        (15, BYTES),
        (20, VARINT),
        (21, BYTES),
        (22, BYTES),
        (23, BYTES),
    ],
};

pub(super) static TENSOR: Schema = Schema {
    name: "a tensor",
    fields: &[
        (1, NUMBERS),
        (2, VARINT),
        (3, BYTES),
        (4, FIXED32 | BYTES),
        (5, NUMBERS),
        (6, BYTES),
        (7, NUMBERS),
        (8, BYTES),
        (9, BYTES),
        (10, FIXED64 | BYTES),
        (11, NUMBERS),
        (12, BYTES),
        (13, BYTES),
        (14, VARINT),
        (16, BYTES),
    ],
};

pub(super) static SPARSE_TENSOR: Schema =
    Schema { name: "a sparse tensor", fields: &[(1, BYTES), (2, BYTES), (3, NUMBERS)] };

pub(super) static FUNCTION: Schema = Schema {
    name: "a function",
    fields: &[
        (1, BYTES),
        (2, VARINT),
        (3, VARINT),
        (4, BYTES),
        (5, BYTES),
        (6, BYTES),
        (7, BYTES),
        (8, BYTES),
        (9, BYTES),
        (10, BYTES),
        (11, BYTES),
        (12, BYTES),
        (13, BYTES),
        (14, BYTES),
    ],
};

pub(super) static TRAINING: Schema =
    Schema { name: "training info", fields: &[(1, BYTES), (2, BYTES), (3, BYTES), (4, BYTES)] };

pub(super) static ENTRY: Schema = Schema { name: "a key-value pair", fields: &[(1, BYTES), (2, BYTES)] };
