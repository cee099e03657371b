//! Calls: what is called with what, what comes back, and which constants a call receives.

use std::rc::Rc;

use super::constants::looks_like_object;
use super::{EMBEDDED_MAX, Embedded, Machine, Stop, error};
use crate::pickle::event::{Action, Event, Global, How, Operand};
use crate::pickle::value::{Tuple, Value};

impl Machine<'_> {
    pub(super) fn call_opcode(&mut self, opcode: u8) -> Result<(), Stop> {
        match opcode {
            b'R' => {
                let (args, callee) = (self.pop()?, self.pop()?);
                self.call(&callee, &args, How::Reduce)
            }
            b'o' => {
                let mut args = self.pop_mark()?;
                if args.is_empty() {
                    return error("OBJ without a class");
                }
                let callee = args.remove(0);
                self.pass(&args)?;
                let args = Value::Tuple(Rc::new(Tuple::new(args, Event::ARGS_MAX, &self.tuples_bytes)));
                self.call(&callee, &args, How::Instantiate)
            }
            0x81 => {
                let (args, callee) = (self.pop()?, self.pop()?);
                self.call(&callee, &args, How::New)
            }
            _ => {
                // NEWOBJ_EX; keyword arguments change nothing for the policy, which allows exact callables only.
                self.pop()?;
                let (args, callee) = (self.pop()?, self.pop()?);
                self.call(&callee, &args, How::New)
            }
        }
    }

    pub(super) fn call(&mut self, callee: &Value, args: &Value, how: How) -> Result<(), Stop> {
        let operands = match args {
            Value::Tuple(tuple) if tuple.complete => {
                let items = Rc::clone(tuple);
                Some(items.items.iter().map(|item| self.operand(item)).collect::<Result<Vec<_>, _>>()?)
            }
            _ => None,
        };
        self.mark_called(callee, args)?;
        let attribute = self.attribute_of(callee, operands.as_deref());
        let callee_operand = self.operand(callee)?;
        self.record(Action::Call { callee: callee_operand, args: operands, how })?;
        match (attribute, callee) {
            (Some(global), _) => return self.import(global),
            (None, Value::Global(id)) => {
                let made = self.reconstructed(*id, args)?.unwrap_or(*id);
                let Some(instance) = self.instances.checked_add(1) else {
                    return Err(Stop::Limit("makes too many calls".into()));
                };
                self.instances = instance;
                self.keep_dtype(made, instance, args)?;
                self.push(Value::ResultOf(made, instance));
            }
            (None, _) => self.push(Value::Opaque),
        }
        Ok(())
    }

    /// `copyreg._reconstructor(cls, …)` and `__newobj__(cls, …)` are calls of `cls.__new__`: recorded as such too, and what
    /// comes back is an instance of `cls`.
    fn reconstructed(&mut self, callee: u32, args: &Value) -> Result<Option<u32>, Stop> {
        let function = self.global(callee);
        let by_copyreg = function.is_some_and(|function| {
            matches!(function.module.as_str(), "copyreg" | "copy_reg")
                && matches!(function.name.as_str(), "_reconstructor" | "__newobj__" | "__newobj_ex__")
        });
        let Value::Tuple(tuple) = args else { return Ok(None) };
        let tuple = Rc::clone(tuple);
        let Some((Value::Global(class), rest)) = tuple.items.split_first().filter(|_| by_copyreg) else {
            return Ok(None);
        };
        let args = match tuple.complete {
            true => Some(rest.iter().map(|item| self.operand(item)).collect::<Result<Vec<_>, _>>()?),
            false => None,
        };
        let callee = self.operand(&Value::Global(*class))?;
        self.record(Action::Call { callee, args, how: How::New })?;
        Ok(Some(*class))
    }

    /// `getattr(imported, 'constant')` is the import of a dotted name.
    fn attribute_of(&self, callee: &Value, args: Option<&[Operand]>) -> Option<Global> {
        let Value::Global(id) = callee else { return None };
        let function = self.global(*id)?;
        let is_getattr = function.known
            && function.name == "getattr"
            && matches!(function.module.as_str(), "builtins" | "__builtin__");
        match args? {
            [Operand::Global(of), Operand::Text(attribute)] if is_getattr && of.known => {
                Some(Global { name: format!("{}.{attribute}", of.name), ..of.clone() })
            }
            _ => None,
        }
    }

    /// Constants handed to a call are no longer inert; bytes handed to a loader are an object whatever they begin with.
    ///
    /// One that cannot be noted any more ends the stream: a call that is allowed because its bytes are judged must not be
    /// made without that.
    fn mark_called(&mut self, callee: &Value, args: &Value) -> Result<(), Stop> {
        let Value::Tuple(tuple) = args else { return Ok(()) };
        let name = match callee {
            Value::Global(id) => self.global(*id).map(|global| global.name.as_str()),
            _ => None,
        };
        let called_loads = name.is_some_and(|name| name.ends_with("loads") || name.ends_with("_load_from_bytes"));
        for item in &tuple.items {
            let (Value::Bytes(span) | Value::Str(span)) = item else { continue };
            let known = self.embedded_at.get(&span.offset).and_then(|i| self.stream.embedded.get_mut(*i));
            if let Some(embedded) = known {
                embedded.called = true;
            } else if looks_like_object(self.reader.peek(*span, 4)?).is_some()
                || called_loads && matches!(item, Value::Bytes(_))
            {
                if self.stream.embedded.len() >= EMBEDDED_MAX {
                    return Err(Stop::Limit(format!("hands more than {EMBEDDED_MAX} nested objects to calls")));
                }
                let base64 = !called_loads && looks_like_object(self.reader.peek(*span, 4)?) == Some(true);
                self.embed(Embedded { offset: span.offset, len: u64::from(span.len), base64, called: true });
            }
        }
        Ok(())
    }

    pub(super) fn embed(&mut self, embedded: Embedded) {
        self.embedded_at.insert(embedded.offset, self.stream.embedded.len());
        self.stream.embedded.push(embedded);
    }
}
