//! MXNet's graphs: `{"nodes": [{"op": …, "name": …}], "arg_nodes": …, "heads": …}`, also inside each other.
//!
//! `Custom` calls Python the application registered under a name in the graph, `_Native` and `_NDArray` call through an
//! address in it. MXNet matches names of operators with a regular expression that takes exponential time on some
//! (CVE-2022-24294). Source: `nnvm/src/pass/saveload_json.cc` of MXNet 1.9.

use std::collections::BTreeSet;

use casemate_core::Limits;

use super::walk::Step;
use crate::formats::reading::quote;
use crate::{Malformed, Operator, Parsed, Trouble};

/// Domain of MXNet's own operators.
const DOMAIN: &str = "mxnet";
/// Domain of operators that call what is not MXNet's.
const CUSTOM: &str = "mxnet.custom";
/// Longest name of a node; generated ones have some tens of characters.
const NAME_BYTES_MAX: usize = 1024;
/// Kinds of operators kept; MXNet has a few hundred.
const OPERATORS_MAX: usize = 10_000;

/// What a JSON text says as a graph, if it turns out to be one.
#[derive(Default)]
pub(super) struct Symbol {
    operators: BTreeSet<String>,
    longest: usize,
    is_graph: bool,
    more: bool,
}

impl Symbol {
    /// Takes in a text by its place.
    pub(super) fn text(&mut self, path: &[Step], text: &str) {
        let [.., Step::Key(nodes), Step::Index(_), Step::Key(field)] = path else { return };
        if nodes != "nodes" || !matches!(field.as_str(), "op" | "name") {
            return;
        }
        self.longest = self.longest.max(text.len());
        if field == "op" && text.len() <= NAME_BYTES_MAX && text != "null" && !self.operators.contains(text) {
            match self.operators.len() < OPERATORS_MAX {
                true => drop(self.operators.insert(text.into())),
                false => self.more = true,
            }
        }
    }

    /// Takes in the keys of an object, by whether it has one.
    pub(super) fn object(&mut self, has: impl Fn(&str) -> bool) {
        self.is_graph |= ["nodes", "arg_nodes", "heads"].into_iter().all(has);
    }

    /// Hands on the operators of a graph.
    pub(super) fn finish(self, limits: &Limits, parsed: &mut Parsed) {
        if !self.is_graph {
            return;
        }
        if self.longest > NAME_BYTES_MAX {
            let what = format!("a node or operator has a name of {} bytes", self.longest);
            parsed.report(limits, Malformed::new(Trouble::Ambiguous, None, what));
        }
        if self.more {
            let last = self.operators.last().map(|name| quote(name)).unwrap_or_default();
            let what = format!("more than {OPERATORS_MAX} kinds of operators, {last} among them");
            parsed.report(limits, Malformed::new(Trouble::Limit, None, what));
        }
        parsed.operators.extend(self.operators.into_iter().map(|name| {
            let domain = if matches!(name.as_str(), "Custom" | "_Native" | "_NDArray") { CUSTOM } else { DOMAIN };
            Operator { domain: domain.into(), name }
        }));
    }
}
