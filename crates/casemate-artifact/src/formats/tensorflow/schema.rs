//! The fields of TensorFlow's messages (`tensorflow/core/framework/*.proto`, `tensorflow/core/protobuf/*.proto`, 2.21).
//!
//! Messages in which later versions added fields are open; those that carry nodes and functions are not.

use crate::formats::messages::Inside::{Data, Message, Name};
use crate::formats::messages::Schema;
use crate::formats::protobuf::{BYTES, VARINT};

pub(super) static SAVED_MODEL: Schema =
    Schema { name: "the saved model", fields: &[(1, VARINT, Data), (2, BYTES, Message(&META_GRAPH))], open: false };

pub(super) static META_GRAPH: Schema = Schema {
    name: "a meta graph",
    fields: &[
        (1, BYTES, Message(&META_INFO)),
        (2, BYTES, Message(&GRAPH)),
        (3, BYTES, Data),
        (4, BYTES, Data),
        (5, BYTES, Data),
        (6, BYTES, Message(&ASSET)),
        (7, BYTES, Data),
    ],
    open: false,
};

static META_INFO: Schema = Schema {
    name: "meta info",
    fields: &[
        (1, BYTES, Name),
        (2, BYTES, Message(&OPERATORS)),
        (3, BYTES, Message(&ANY)),
        (4, BYTES, Name),
        (5, BYTES, Name),
        (6, BYTES, Name),
        (7, VARINT, Data),
        (8, BYTES, Data),
    ],
    open: false,
};

static OPERATORS: Schema =
    Schema { name: "a list of operators", fields: &[(1, BYTES, Message(&SIGNATURE))], open: false };

static ANY: Schema = Schema { name: "any info", fields: &[(1, BYTES, Name), (2, BYTES, Data)], open: false };

pub(super) static ASSET: Schema =
    Schema { name: "an asset", fields: &[(1, BYTES, Data), (2, BYTES, Data)], open: false };

pub(super) static GRAPH: Schema = Schema {
    name: "a graph",
    fields: &[
        (1, BYTES, Message(&NODE)),
        (2, BYTES, Message(&LIBRARY)),
        (3, VARINT, Data),
        (4, BYTES, Data),
        (5, BYTES, Data),
    ],
    open: false,
};

pub(super) static NODE: Schema = Schema {
    name: "a node",
    fields: &[
        (1, BYTES, Name),
        (2, BYTES, Name),
        (3, BYTES, Name),
        (4, BYTES, Name),
        (5, BYTES, Message(&ATTRIBUTE)),
        (6, BYTES, Data),
        (7, BYTES, Data),
    ],
    open: false,
};

/// An entry of `map<string, AttrValue>`.
pub(super) static ATTRIBUTE: Schema =
    Schema { name: "an attribute", fields: &[(1, BYTES, Name), (2, BYTES, Data)], open: false };

pub(super) static LIBRARY: Schema = Schema {
    name: "a function library",
    fields: &[(1, BYTES, Message(&FUNCTION)), (2, BYTES, Data), (3, BYTES, Data)],
    open: false,
};

pub(super) static FUNCTION: Schema = Schema {
    name: "a function",
    fields: &[
        (1, BYTES, Message(&SIGNATURE)),
        (3, BYTES, Message(&NODE)),
        (4, BYTES, Data),
        (5, BYTES, Data),
        (6, BYTES, Data),
        (7, BYTES, Data),
        (8, BYTES, Data),
    ],
    open: false,
};

pub(super) static SIGNATURE: Schema = Schema { name: "a signature", fields: &[(1, BYTES, Name)], open: true };

/// `AttrValue`: its string.
pub(super) static VALUE: Schema = Schema { name: "an attribute's value", fields: &[(2, BYTES, Data)], open: true };

/// `SavedObjectGraph` and what leads from it to a Keras object's configuration.
pub(super) static OBJECTS: Schema = Schema { name: "the object graph", fields: &[(1, BYTES, Data)], open: true };
pub(super) static OBJECT: Schema = Schema { name: "an object", fields: &[(4, BYTES, Data)], open: true };
pub(super) static USER_OBJECT: Schema = Schema { name: "a user object", fields: &[(3, BYTES, Data)], open: true };
