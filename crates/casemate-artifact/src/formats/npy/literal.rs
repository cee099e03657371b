//! The few Python literals a NumPy header consists of.

/// A Python literal. Texts hold no escapes: NumPy writes none, and a reader that meets one refuses it here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Literal<'t> {
    Text(&'t str),
    Int(i128),
    Bool,
    Tuple(Vec<Literal<'t>>),
    List(Vec<Literal<'t>>),
    Dict(Vec<(Literal<'t>, Literal<'t>)>),
}

/// Reads one literal that fills `text` up to white space.
///
/// # Errors
/// What is wrong, as the end of a sentence that begins with the name of the text.
pub(super) fn parse(text: &[u8], nesting_max: u32) -> Result<Literal<'_>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "is not text")?;
    let mut reader = Reader { rest: text };
    let literal = reader.value(nesting_max.min(64))?;
    match reader.peek() {
        None => Ok(literal),
        Some(_) => Err("goes on after the dictionary".into()),
    }
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.rest.chars().next()
    }

    /// Takes `token` if it comes next.
    fn take(&mut self, token: &str) -> bool {
        self.peek();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, nesting_left: u32) -> Result<Literal<'t>, String> {
        let Some(inside) = nesting_left.checked_sub(1) else { return Err("nests too deep".into()) };
        let unexpected = Err("is not a Python literal NumPy writes".into());
        match self.peek() {
            Some(quote @ ('\'' | '"')) => self.text(quote),
            Some('0'..='9' | '-') => self.int(),
            Some('(') => {
                let (items, commas) = self.items("(", ")", inside)?;
                let mut items = items;
                // `(3)` is the number, `(3,)` the tuple.
                Ok(match (items.len(), commas) {
                    (1, false) => items.pop().unwrap_or(Literal::Tuple(Vec::new())),
                    _ => Literal::Tuple(items),
                })
            }
            Some('[') => Ok(Literal::List(self.items("[", "]", inside)?.0)),
            Some('{') => self.dict(inside),
            _ if self.take("True") || self.take("False") => Ok(Literal::Bool),
            _ => unexpected,
        }
    }

    fn text(&mut self, quote: char) -> Result<Literal<'t>, String> {
        let body = self.rest.get(1..).unwrap_or_default();
        match body.split_once(quote) {
            Some((text, rest)) if !text.contains(['\\', '\n']) => {
                self.rest = rest;
                Ok(Literal::Text(text))
            }
            _ => Err("has an unfinished or escaped text".into()),
        }
    }

    fn int(&mut self) -> Result<Literal<'t>, String> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        // Python 2 wrote `3L`.
        self.rest = rest.strip_prefix('L').unwrap_or(rest);
        digits.parse().map(Literal::Int).map_err(|_| "has a number that is none".into())
    }

    /// Items between two brackets, and whether the last one is followed by a comma.
    fn items(&mut self, open: &str, close: &str, nesting_left: u32) -> Result<(Vec<Literal<'t>>, bool), String> {
        self.take(open);
        let (mut items, mut comma) = (Vec::new(), false);
        loop {
            if self.take(close) {
                return Ok((items, comma));
            }
            if !items.is_empty() && !comma {
                return Err("lacks a comma".into());
            }
            items.push(self.value(nesting_left)?);
            comma = self.take(",");
        }
    }

    fn dict(&mut self, nesting_left: u32) -> Result<Literal<'t>, String> {
        self.take("{");
        let (mut items, mut comma) = (Vec::new(), true);
        loop {
            if self.take("}") {
                return Ok(Literal::Dict(items));
            }
            if !comma {
                return Err("lacks a comma".into());
            }
            let key = self.value(nesting_left)?;
            if !self.take(":") {
                return Err("lacks a colon".into());
            }
            items.push((key, self.value(nesting_left)?));
            comma = self.take(",");
        }
    }
}
