//! The fields of Core ML's messages that lead to code and names (`Model.proto`, `NeuralNetwork.proto` of coremltools 8).

use crate::formats::messages::Inside::{Data, Message, Name};
use crate::formats::messages::Schema;
use crate::formats::protobuf::{BYTES, VARINT};

pub(super) static MODEL: Schema = Schema {
    name: "the model",
    fields: &[
        (1, VARINT, Data),
        (2, BYTES, Message(&DESCRIPTION)),
        (10, VARINT, Data),
        (200, BYTES, Data),
        (201, BYTES, Data),
        (202, BYTES, Data),
        (300, BYTES, Data),
        (301, BYTES, Data),
        (302, BYTES, Data),
        (303, BYTES, Data),
        (304, BYTES, Data),
        (400, BYTES, Data),
        (401, BYTES, Data),
        (402, BYTES, Data),
        (403, BYTES, Data),
        (404, BYTES, Data),
        (500, BYTES, Data),
        (501, BYTES, Data),
        (502, BYTES, Data),
        (555, BYTES, Data),
        (556, BYTES, Data),
        (560, BYTES, Data),
        (600, BYTES, Data),
        (601, BYTES, Data),
        (602, BYTES, Data),
        (603, BYTES, Data),
        (604, BYTES, Data),
        (606, BYTES, Data),
        (607, BYTES, Data),
        (609, BYTES, Data),
        (610, BYTES, Data),
        (900, BYTES, Data),
        (2000, BYTES, Data),
        (2001, BYTES, Data),
        (2002, BYTES, Data),
        (2003, BYTES, Data),
        (2004, BYTES, Data),
        (2005, BYTES, Data),
        (2006, BYTES, Data),
        (3000, BYTES, Data),
    ],
    open: false,
};

pub(super) static DESCRIPTION: Schema = Schema {
    name: "the description",
    fields: &[(1, BYTES, Message(&FEATURE)), (10, BYTES, Message(&FEATURE)), (100, BYTES, Data)],
    open: true,
};

static FEATURE: Schema =
    Schema { name: "a feature", fields: &[(1, BYTES, Name), (2, BYTES, Data), (3, BYTES, Data)], open: false };

pub(super) static METADATA: Schema = Schema {
    name: "the metadata",
    fields: &[(1, BYTES, Data), (2, BYTES, Data), (3, BYTES, Data), (4, BYTES, Data), (100, BYTES, Data)],
    open: true,
};

/// Messages of which only some fields matter: a network, a layer, a pipeline, a custom model.
pub(super) static PART: Schema = Schema { name: "a part of the model", fields: &[], open: true };
