//! The walk over all values: templates and settings with their paths, objects to restore, duplicate keys.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;

use casemate_core::Limits;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::serialized::{Frame, name};
use super::settings::{self, Node};
use super::symbol::Symbol;
use crate::formats::reading::{Allowance, is_template, quote};
use crate::formats::tensorflow::DOMAIN;
use crate::{Malformed, Operator, Parsed, Reference, Setting, SettingKind, Text, TextKind, Trouble, clues};

/// A walk in progress. Nesting is bounded by the parser (128 levels).
pub(super) struct Walk<'a> {
    limits: &'a Limits,
    parsed: &'a mut Parsed,
    allowance: &'a mut Allowance,
    path: Vec<Step>,
    // Keys are compared by keyed hashes of 64 bits: a vocabulary of a million words then costs 16 MB.
    hasher: RandomState,
    keys_held: u64,
    // The loader's words of each open object, and those already handed on.
    nodes: Vec<Node>,
    nodes_seen: HashSet<u64>,
    operators_seen: HashSet<u64>,
    full: bool,
    // The value read last, where its key is one of interest: a text, or an object by its fields.
    spoken: Option<String>,
    closed: Option<Frame>,
    symbol: Symbol,
}

/// One step of the way to a value.
pub(super) enum Step {
    /// Member of an object.
    Key(String),
    /// Element of an array.
    Index(u64),
}

impl<'a> Walk<'a> {
    /// A walk that notes what it finds in `parsed`.
    pub(super) fn new(limits: &'a Limits, parsed: &'a mut Parsed, allowance: &'a mut Allowance) -> Self {
        Self {
            limits,
            parsed,
            allowance,
            path: Vec::new(),
            hasher: RandomState::new(),
            keys_held: 0,
            nodes: Vec::new(),
            nodes_seen: HashSet::new(),
            operators_seen: HashSet::new(),
            full: false,
            spoken: None,
            closed: None,
            symbol: Symbol::default(),
        }
    }

    /// Hands on what only the whole text tells.
    pub(super) fn finish(self) {
        self.symbol.finish(self.limits, self.parsed);
    }

    /// Walks over the next value of the text.
    pub(super) fn value<R: Read>(
        &mut self,
        deserializer: &mut serde_json::Deserializer<serde_json::de::IoRead<R>>,
    ) -> serde_json::Result<()> {
        self.path.clear();
        self.nodes.clear();
        self.deserialize(deserializer)
    }

    fn key(&self) -> String {
        let mut key = String::new();
        for step in &self.path {
            match step {
                Step::Key(name) if key.is_empty() => key.push_str(name),
                Step::Key(name) => key.extend([".", name]),
                Step::Index(n) => key.push_str(&format!("[{n}]")),
            }
        }
        key
    }

    fn text(&mut self, text: &str) {
        if !is_template(text) {
            return;
        }
        let key = self.key();
        if self.allowance.take(key.len().saturating_add(text.len())) {
            self.parsed.texts.push(Text { kind: TextKind::Template, key, text: text.into(), offset: None });
        } else {
            self.limit("templates after the first are not read: too many");
        }
    }

    /// Notes what a value gives away. The path is put together only for those worth it; templates are looked over later.
    fn look_over(&mut self, text: &str) {
        if text.len() < 9 || is_template(text) {
            return;
        }
        let last = self.path.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        let before = self.parsed.clues.len();
        clues::note(&mut self.parsed.clues, text, clues::Place { key: last.unwrap_or(""), ..Default::default() });
        if self.parsed.clues.len() > before {
            let key: String = self.key().chars().take(200).collect();
            self.parsed.clues.iter_mut().skip(before).for_each(|clue| clue.key.clone_from(&key));
        }
    }

    /// Hands on a value that chooses code.
    fn setting(&mut self, value: &str) {
        if let (Some(node), Some(Step::Key(key))) = (self.nodes.last_mut(), self.path.last()) {
            node.note(key, value);
        }
        if let Some(kind) = settings::kind_of(&self.path, value) {
            self.hand_on(kind, value.into());
        }
        if settings::is_operator(&self.path) {
            self.operator(value);
        }
        let Some(kind) = settings::reference_of(&self.path) else { return };
        // Thousands of tensors name one shard after the other.
        if self.parsed.references.last().is_some_and(|last| last.target == value) {
            return;
        }
        let from = self.key();
        match self.allowance.take(from.len().saturating_add(value.len())) {
            true => self.parsed.references.push(Reference { kind, target: value.into(), from, offset: None }),
            false => self.limit("names of files after the first are not read: too many"),
        }
    }

    /// Hands on an operator of a graph, each once.
    fn operator(&mut self, value: &str) {
        if !self.operators_seen.insert(self.hasher.hash_one(value)) {
            return;
        }
        match self.allowance.take(value.len()) {
            true => self.parsed.operators.push(Operator { domain: DOMAIN.into(), name: value.into() }),
            false => self.limit("operators after the first are not read: too many"),
        }
    }

    fn hand_on(&mut self, kind: SettingKind, value: String) {
        let path = self.key();
        match self.allowance.take(path.len().saturating_add(value.len())) {
            true => self.parsed.settings.push(Setting { kind, path, value, line: None }),
            false => self.limit("settings after the first are not read: too many"),
        }
    }

    /// Hands on what an object that is complete says of its loader, the same words once.
    fn close_node(&mut self) {
        let Some(value) = self.nodes.pop().and_then(Node::words) else { return };
        if (self.nodes_seen.len() as u64) < self.limits.entries_max
            && self.nodes_seen.insert(self.hasher.hash_one(&value))
        {
            self.hand_on(SettingKind::SkopsNode, value);
        }
    }

    /// Notes what a closed object asks to be restored.
    fn close(&mut self, frame: Frame) {
        if let Some(serialized) = frame.serialized(|| self.key()) {
            let names = [&serialized.module, &serialized.registered_name, &serialized.function, &serialized.vocabulary];
            let bytes = names.into_iter().flatten().map(String::len).sum::<usize>();
            match self.allowance.take(bytes.saturating_add(serialized.key.len() + serialized.class_name.len() + 128)) {
                true => self.parsed.serialized.push(serialized),
                false => self.limit("objects of the configuration after the first are not read: too many"),
            }
        }
        self.closed = Some(frame);
    }

    fn limit(&mut self, what: &str) {
        if !std::mem::replace(&mut self.full, true) {
            self.parsed.report(self.limits, Malformed::new(Trouble::Limit, None, what));
        }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.text(text);
        self.look_over(text);
        self.setting(text);
        self.symbol.text(&self.path, text);
        if matches!(self.path.last(), Some(Step::Key(key)) if Frame::wants(key)) {
            self.spoken = Some(name(text));
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut n = 0;
        loop {
            self.path.push(Step::Index(n));
            let more = seq.next_element_seed(&mut *self)?.is_some();
            self.path.pop();
            if !more {
                // Texts and objects in a list are not the value of the list's key.
                (self.spoken, self.closed) = (None, None);
                return Ok(());
            }
            n += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut seen, mut frame) = (HashSet::new(), Frame::default());
        self.nodes.push(Node::default());
        while let Some(name) = map.next_key::<String>()? {
            if self.keys_held >= self.limits.entries_max {
                self.limit("keys after the first are not compared: too many");
            } else if seen.insert(self.hasher.hash_one(&name)) {
                self.keys_held += 1;
            } else {
                let what = format!("key {} stands twice in one object", quote(&name));
                self.parsed.report(self.limits, Malformed::new(Trouble::Ambiguous, None, what));
            }
            self.text(&name);
            self.path.push(Step::Key(name));
            (self.spoken, self.closed) = (None, None);
            map.next_value_seed(&mut *self)?;
            if let Some(Step::Key(name)) = self.path.pop() {
                frame.field(&name, self.spoken.take(), self.closed.take());
            }
        }
        self.close_node();
        self.symbol.object(|key| seen.contains(&self.hasher.hash_one(key)));
        self.keys_held = self.keys_held.saturating_sub(seen.len() as u64);
        self.close(frame);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        if value {
            self.setting("true");
        }
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
