//! What `<!DOCTYPE …>` declares: the external subset, entities, and what entities expand to.
//!
//! Sizes are computed, not expanded: an entity is its own bytes and those of every entity it refers to.

use std::collections::{HashMap, HashSet};

use super::input::Input;
use crate::{Malformed, Trouble};

/// Entities held; the largest public vocabulary, that of MathML, declares 2,200.
const ENTITIES_MAX: usize = 10_000;
/// Bytes of all their values that are held; each three may be a reference that costs fifty.
const VALUES_BYTES_MAX: usize = 512 << 10;

/// The document type of a document.
#[derive(Default)]
pub(crate) struct DocumentType {
    /// Whether there is one; that of HTML says nothing and does not count.
    pub(crate) is_declared: bool,
    /// Offset in bytes where it begins.
    pub(crate) at: u64,
    /// Where its external subset is found, if it has one.
    pub(crate) external: Option<String>,
    /// What it declares.
    pub(crate) entities: Vec<Entity>,
    names: HashSet<String>,
    values_bytes: usize,
}

/// An entity.
pub(crate) struct Entity {
    pub(crate) name: String,
    /// Offset in bytes of its declaration.
    pub(crate) at: u64,
    /// The file or address its text is read from.
    pub(crate) external: Option<String>,
    /// Whether its text declares entities.
    pub(crate) declares: bool,
    bytes: u64,
    refers: Vec<String>,
}

impl DocumentType {
    /// Whether an entity of this name is declared.
    pub(super) fn declares(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether an entity refers to another.
    pub(crate) fn is_nested(&self) -> bool {
        self.entities.iter().any(|entity| entity.refers.iter().any(|name| self.names.contains(name)))
    }

    /// Bytes each entity expands to; the most there is for one that contains itself.
    pub(super) fn expanded(&self) -> HashMap<&str, u64> {
        // The first declaration of a name binds.
        let entities: HashMap<_, _> = self.entities.iter().rev().map(|entity| (entity.name.as_str(), entity)).collect();
        let mut referred_from: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut open: HashMap<&str, usize> = HashMap::new();
        let mut sizes: HashMap<&str, u64> = HashMap::new();
        for (name, entity) in &entities {
            let known = entity.refers.iter().filter(|to| entities.contains_key(to.as_str()));
            *open.entry(name).or_default() = known.clone().count();
            known.for_each(|to| referred_from.entry(to.as_str()).or_default().push(name));
            sizes.insert(name, entity.bytes);
        }
        let mut ready: Vec<&str> = open.iter().filter(|(_, n)| **n == 0).map(|(name, _)| *name).collect();
        while let Some(name) = ready.pop() {
            let size = sizes.get(name).copied().unwrap_or(0);
            open.remove(name);
            for from in referred_from.get(name).map(Vec::as_slice).unwrap_or_default() {
                let total = sizes.entry(from).or_default();
                *total = total.saturating_add(size);
                if let Some(n) = open.get_mut(from) {
                    *n -= 1;
                    if *n == 0 {
                        ready.push(from);
                    }
                }
            }
        }
        // What is left refers to itself, straight or by way of others.
        sizes.extend(open.into_keys().map(|name| (name, u64::MAX)));
        sizes
    }

    /// The most bytes one entity expands to.
    pub(crate) fn expanded_most(&self) -> u64 {
        self.expanded().into_values().max().unwrap_or(0)
    }

    /// Reads what stands behind `<!DOCTYPE`.
    pub(super) fn read(&mut self, at: u64, input: &mut Input<'_>) -> Result<(), Malformed> {
        self.at = at;
        input.skip_blanks()?;
        let root = input.name()?;
        input.skip_blanks()?;
        self.external = external(input)?;
        input.skip_blanks()?;
        self.is_declared |= !root.eq_ignore_ascii_case("html");
        if input.take(b"[")? {
            self.is_declared = true;
            self.subset(input)?;
            input.skip_blanks()?;
        }
        match input.take(b">")? {
            true => Ok(()),
            false => Err(Malformed::new(Trouble::Undecodable, input.at(), "the document type does not end")),
        }
    }

    fn subset(&mut self, input: &mut Input<'_>) -> Result<(), Malformed> {
        loop {
            input.skip_blanks()?;
            if input.take(b"]")? {
                return Ok(());
            } else if input.take(b"%")? {
                input.until(b";", 0)?;
            } else if input.take(b"<!--")? {
                input.until(b"-->", 0)?;
            } else if input.take(b"<?")? {
                input.until(b"?>", 0)?;
            } else if input.take(b"<!ENTITY")? {
                self.entity(input)?;
            } else if input.take(b"<!")? {
                skip_declaration(input)?;
            } else {
                let what = "the document type holds something that declares nothing";
                return Err(Malformed::new(Trouble::Undecodable, input.at(), what));
            }
        }
    }

    fn entity(&mut self, input: &mut Input<'_>) -> Result<(), Malformed> {
        let at = input.at();
        input.skip_blanks()?;
        input.take(b"%")?;
        input.skip_blanks()?;
        let name = input.name()?;
        input.skip_blanks()?;
        let external = external(input)?;
        let value = match external {
            Some(_) => String::new(),
            None => input.literal(VALUES_BYTES_MAX)?,
        };
        skip_declaration(input)?;
        self.values_bytes = self.values_bytes.saturating_add(value.len());
        if self.entities.len() >= ENTITIES_MAX || self.values_bytes > VALUES_BYTES_MAX {
            return Err(Malformed::new(Trouble::Limit, at, "the document type declares more entities than are judged"));
        }
        let value = characters(&value);
        let refers = value.split('&').skip(1).filter_map(|rest| rest.split_once(';')).map(|(name, _)| name.to_owned());
        self.names.insert(name.clone());
        self.entities.push(Entity {
            name,
            at,
            external,
            declares: value.contains("<!ENTITY"),
            bytes: value.len() as u64,
            refers: refers.filter(|name| character(name).is_none()).collect(),
        });
        Ok(())
    }
}

/// `SYSTEM "where"` or `PUBLIC "what" "where"`: where.
fn external(input: &mut Input<'_>) -> Result<Option<String>, Malformed> {
    const TARGET_BYTES_MAX: usize = 4096;
    let public = input.take(b"PUBLIC")?;
    if !public && !input.take(b"SYSTEM")? {
        return Ok(None);
    }
    input.skip_blanks()?;
    let first = input.literal(TARGET_BYTES_MAX)?;
    input.skip_blanks()?;
    let quoted = matches!(input.peek()?, Some(b'"' | b'\''));
    let target = if public && quoted { input.literal(TARGET_BYTES_MAX)? } else { first };
    Ok(Some(target))
}

/// Passes over the rest of a declaration; `>` may stand in quotes.
fn skip_declaration(input: &mut Input<'_>) -> Result<(), Malformed> {
    while !input.take(b">")? {
        match input.peek()? {
            Some(b'"' | b'\'') => drop(input.literal(0)?),
            _ => input.skip()?,
        }
    }
    Ok(())
}

/// The character a reference stands for: one of the five names of XML, or a number.
pub(super) fn character(name: &str) -> Option<char> {
    let number = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            match digits.strip_prefix(['x', 'X']) {
                Some(digits) => number(digits, 16),
                None => number(digits, 10),
            }
        }
    }
}

/// A value with its characters by number replaced, as a parser does when it reads the declaration.
fn characters(value: &str) -> String {
    let mut parts = value.split("&#");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let replaced = part.split_once(';').and_then(|(digits, rest)| Some((character(&format!("#{digits}"))?, rest)));
        match replaced {
            Some((c, rest)) => {
                out.push(c);
                out.push_str(rest);
            }
            None => {
                out.push_str("&#");
                out.push_str(part);
            }
        }
    }
    out
}
