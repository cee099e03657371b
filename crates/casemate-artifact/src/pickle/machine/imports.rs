//! Imports: names in the stream or on the stack, as CPython reads them.

use std::rc::Rc;

use super::{Machine, Stop};
use crate::pickle::event::{Action, Event, Global, How};
use crate::pickle::name::decode;
use crate::pickle::value::{Span, Spelling, Tuple, Value};

impl Machine<'_> {
    pub(super) fn import_opcode(&mut self, opcode: u8) -> Result<(), Stop> {
        if opcode == 0x93 {
            let (name, module) = (self.pop()?, self.pop()?);
            let global = match (self.known_text(&module)?, self.known_text(&name)?) {
                (Some(module), Some(name)) => self.named(module, name),
                _ => Global::computed(),
            };
            return self.import(global);
        }
        let module = self.line_text()?;
        let name = self.line_text()?;
        let global = match (module, name) {
            (Some(module), Some(name)) => self.named(module, name),
            _ => Global::computed(),
        };
        if opcode == b'c' {
            return self.import(global);
        }
        // INST: the class by name, its arguments back to the MARK. The pure Python reader imports before it looks for one.
        let callee = self.imported(global)?;
        let args = self.pop_mark()?;
        self.pass(&args)?;
        let args = Value::Tuple(Rc::new(Tuple::new(args, Event::ARGS_MAX, &self.tuples_bytes)));
        self.call(&callee, &args, How::Instantiate)
    }

    pub(super) fn named(&self, module: String, name: String) -> Global {
        Global { module, name, known: true, python2: self.protocol < 3 }
    }

    pub(super) fn line_text(&mut self) -> Result<Option<String>, Stop> {
        match self.reader.line(Spelling::Utf8)? {
            Some(span) => self.decode(span),
            None => Ok(None),
        }
    }

    /// The text of a string value. Bytes count as text: judging a name CPython 3 refuses costs nothing.
    pub(super) fn known_text(&mut self, value: &Value) -> Result<Option<String>, Stop> {
        match value {
            Value::Str(span) | Value::Bytes(span) => self.decode(*span),
            _ => Ok(None),
        }
    }

    pub(super) fn decode(&mut self, span: Span) -> Result<Option<String>, Stop> {
        Ok(self.reader.bytes(span)?.and_then(|bytes| decode(bytes, span.spelling)))
    }

    pub(super) fn import(&mut self, global: Global) -> Result<(), Stop> {
        let value = self.imported(global)?;
        self.push(value);
        Ok(())
    }

    fn imported(&mut self, global: Global) -> Result<Value, Stop> {
        self.note(Action::Import(global)).map(Value::Global)
    }

    /// What the import event `id` imports.
    pub(super) fn global(&self, id: u32) -> Option<&Global> {
        match &self.stream.events.get(usize::try_from(id).ok()?)?.action {
            Action::Import(global) => Some(global),
            _ => None,
        }
    }
}
