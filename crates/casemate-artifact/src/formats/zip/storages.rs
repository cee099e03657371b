//! What the pickle of a torch archive says of its storages, beside what the archive has.
//!
//! torch makes a tensor of as many bytes as the pickle says over the member it finds, without looking at the member's
//! length: a shorter one is read past its end, in a longer one bytes lie that no tensor shows.
//!
//! Source: `torch/serialization.py`, `_load`, `persistent_load`; `PyTorchStreamReader::getRecord`.

use std::collections::HashMap;

use crate::formats::Object;
use crate::formats::reading::quote;
use crate::formats::torch_legacy::storage_width;
use crate::pickle::{Action, Reading, run};
use crate::{Malformed, Parsed, Trouble};

/// The pickles of a torch archive and where the storages of each lie.
const PICKLES: [(&str, &str); 2] = [("data.pkl", "data/"), ("constants.pkl", "constants/")];

/// Reports storages whose length is not that of their member. `top` is the folder all members lie in.
pub(super) fn compare(object: &Object<'_>, top: &str, parsed: &mut Parsed) {
    let mut sizes: HashMap<&str, u64> = HashMap::new();
    for child in &parsed.children {
        // Of two members of one name, which is reported anyway, the last counts, as it does for torch.
        sizes.insert(child.name.strip_prefix(top).unwrap_or_default(), child.source.size_bytes());
    }
    let mut troubles = Vec::new();
    for (pickle, folder) in PICKLES {
        let mut members = parsed.children.iter().rev();
        let Some(child) = members.find(|child| child.name.strip_prefix(top) == Some(pickle)) else { continue };
        let stream = run(child.source.as_ref(), 0, Reading::Plain, object.limits, 0);
        for event in stream.events {
            let Action::PersistentId { storage: Some((kind, key, numbers)), .. } = event.action else { continue };
            let name = format!("{folder}{key}");
            let Some((width, size)) = storage_width(&kind.name).zip(sizes.get(name.as_str()).copied()) else {
                continue;
            };
            if numbers.checked_mul(width) != Some(size) {
                let what = format!(
                    "member {} has {size} bytes, and {} says it holds {numbers} numbers of {width} bytes",
                    quote(&name),
                    quote(pickle)
                );
                troubles.push(Malformed::new(Trouble::Ambiguous, None, what));
            }
        }
    }
    troubles.into_iter().for_each(|malformed| parsed.report(object.limits, malformed));
}
