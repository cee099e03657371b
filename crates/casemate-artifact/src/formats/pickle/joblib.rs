//! Pickles that joblib wrote: its loader skips the arrays between the opcodes, others read them as opcodes.
//!
//! Both readings are judged. The bytes of an array stop an ordinary reader at once, unless somebody chose them; an array of
//! objects is opcodes again, with the memo of another stream. So an ordinary reading is reported where it calls something no
//! profile lists and joblib's does not. [`crate::pickle`] does the skipping.

use std::collections::HashSet;

use super::{add_children, calls_something};
use crate::formats::Object;
use crate::pickle::{Action, Operand, Reading, Stream, run};
use crate::{Imports, Malformed, Parsed, Reference, ReferenceKind, Trouble};

/// The stream at `start` as joblib reads it; what only an ordinary reader would do is added to `parsed`.
pub(super) fn reading(object: &Object<'_>, start: u64, mut plain: Stream, parsed: &mut Parsed) -> Stream {
    let joblib = run(object.source.as_ref(), start, Reading::Joblib, object.limits, 0);
    parsed.refined = Some("joblib");
    let known: HashSet<_> = joblib.events.iter().map(|event| &event.action).collect();
    plain.events.retain(|event| !known.contains(&event.action) && is_unlisted(&event.action));
    if calls_something(&plain) {
        let what = "ordinary readers take the bytes of an array for opcodes, and these call something";
        parsed.malformed.push(Malformed::new(Trouble::Ambiguous, start, what));
        add_children(object, &plain.embedded, parsed);
        parsed.events.append(&mut plain.events);
    }
    parsed.references.extend(joblib.external.iter().map(|(offset, name)| Reference {
        kind: ReferenceKind::ExternalData,
        target: name.clone(),
        from: "an array".into(),
        offset: Some(*offset),
    }));
    joblib
}

/// Whether an action imports or calls what no profile lists. Calling a text or a number fails.
fn is_unlisted(action: &Action) -> bool {
    match action {
        Action::Import(global) => global.known && !Imports::built_in().allows_import(global),
        Action::Call { callee: Operand::Global(global) | Operand::ResultOf(global), .. } => {
            global.known && !Imports::built_in().allows_import(global)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
