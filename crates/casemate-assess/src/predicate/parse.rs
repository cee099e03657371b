//! From text to a predicate tree in which negation stands only inside comparisons.

use casemate_core::Outcome;

use super::{Comparison, Dialect, Field, Measured, Node, Op, Operand, PredicateError, Statistic, Value};

/// Longest text, in bytes. The longest of the catalogue has about 300.
const TEXT_BYTES_MAX: usize = 2_000;

/// Deepest nesting of parentheses and `not`.
const NESTING_MAX: u32 = 32;

pub(super) fn parse(dialect: Dialect, text: &str) -> Result<Node, PredicateError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(PredicateError {
            column: 1,
            expected: format!("at most {TEXT_BYTES_MAX} bytes"),
            found: format!("{} bytes", text.len()),
        });
    }
    let mut parser = Parser { dialect, text, tokens: tokens(text)?, next: 0, depth: 0 };
    let root = parser.any(false)?;
    match parser.peek() {
        None => Ok(root),
        Some(_) => Err(parser.expected("`and`, `or` or the end")),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Word,
    Text(String),
    Number(f64),
    Op(Op),
    Open,
    Close,
    Comma,
    /// A single `=`, before the value of an attribute.
    Assign,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

fn tokens(text: &str) -> Result<Vec<Token>, PredicateError> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(char::is_whitespace) {
            start += rest.len() - rest.trim_start().len();
            continue;
        }
        let (kind, length) = token(rest).map_err(|expected| error_at(text, start, expected))?;
        tokens.push(Token { kind, start, end: start + length });
        start += length;
    }
    Ok(tokens)
}

/// The token at the start of `rest`, which is not empty, and its length in bytes.
fn token(rest: &str) -> Result<(Kind, usize), &'static str> {
    const SYMBOLS: [(&str, Kind); 10] = [
        ("==", Kind::Op(Op::Equal)),
        ("!=", Kind::Op(Op::NotEqual)),
        ("<=", Kind::Op(Op::LessEqual)),
        (">=", Kind::Op(Op::GreaterEqual)),
        ("<", Kind::Op(Op::Less)),
        (">", Kind::Op(Op::Greater)),
        ("(", Kind::Open),
        (")", Kind::Close),
        (",", Kind::Comma),
        ("=", Kind::Assign),
    ];
    if let Some((symbol, kind)) = SYMBOLS.into_iter().find(|(symbol, _)| rest.starts_with(symbol)) {
        return Ok((kind, symbol.len()));
    }
    if let Some(inside) = rest.strip_prefix('\'') {
        let (text, _) = inside.split_once('\'').ok_or("a closing quote")?;
        return Ok((Kind::Text(text.into()), text.len() + 2));
    }
    if rest.starts_with(|c: char| c.is_ascii_lowercase()) {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.');
        return Ok((Kind::Word, rest.find(|c| !word(c)).unwrap_or(rest.len())));
    }
    if rest.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+');
        let length = rest.find(|c| !digits(c)).unwrap_or(rest.len());
        let number: Option<f64> = rest.get(..length).and_then(|number| number.parse().ok());
        return match number {
            Some(number) if number.is_finite() => Ok((Kind::Number(number), length)),
            _ => Err("a number"),
        };
    }
    Err("a name, a value, a comparison or a parenthesis")
}

fn error_at(text: &str, offset: usize, expected: &str) -> PredicateError {
    let (before, rest) = text.split_at_checked(offset).unwrap_or((text, ""));
    let found = match rest.split_whitespace().next() {
        Some(word) => format!("`{}`", word.chars().take(30).collect::<String>()),
        None => "the end".into(),
    };
    PredicateError { column: before.chars().count() + 1, expected: expected.into(), found }
}

struct Parser<'a> {
    dialect: Dialect,
    text: &'a str,
    tokens: Vec<Token>,
    next: usize,
    depth: u32,
}

impl Parser<'_> {
    /// `or`; under `negated`, De Morgan turns it into a conjunction of negations.
    fn any(&mut self, negated: bool) -> Result<Node, PredicateError> {
        let mut terms = vec![self.all(negated)?];
        while self.take_word("or") {
            terms.push(self.all(negated)?);
        }
        Ok(join(terms, if negated { Node::All } else { Node::Any }))
    }

    fn all(&mut self, negated: bool) -> Result<Node, PredicateError> {
        let mut terms = vec![self.not(negated)?];
        while self.take_word("and") {
            terms.push(self.not(negated)?);
        }
        Ok(join(terms, if negated { Node::Any } else { Node::All }))
    }

    fn not(&mut self, negated: bool) -> Result<Node, PredicateError> {
        let nested = self.word() == Some("not") || self.peek() == Some(&Kind::Open);
        if !nested {
            return self.comparison(negated);
        }
        if self.depth == NESTING_MAX {
            return Err(self.expected("at most 32 levels of parentheses and `not`"));
        }
        self.depth += 1;
        let node = if self.take_word("not") {
            self.not(!negated)?
        } else {
            self.next += 1;
            let inside = self.any(negated)?;
            self.take(&Kind::Close, "`)`")?;
            inside
        };
        self.depth -= 1;
        Ok(node)
    }

    fn comparison(&mut self, negated: bool) -> Result<Node, PredicateError> {
        let first = self.next;
        let left = self.operand()?;
        let (op, right) = match self.peek() {
            Some(&Kind::Op(op)) => {
                self.next += 1;
                (op, self.operand()?)
            }
            Some(Kind::Assign) => return Err(self.expected("a comparison such as `==`")),
            // A bare operand stands for its truth.
            _ => (Op::Equal, Operand::Literal(Value::Bool(true))),
        };
        if let Some(expected) = type_clash(&left, op, &right) {
            self.next = first;
            return Err(self.expected(expected));
        }
        let text = self.source(first);
        let (text, op) = if negated { (format!("not {text}"), op.complement()) } else { (text, op) };
        Ok(Node::Compare(Comparison { text, left, op, right }))
    }

    fn operand(&mut self) -> Result<Operand, PredicateError> {
        let literal = match self.peek() {
            Some(Kind::Number(number)) => Value::Number(*number),
            Some(Kind::Text(text)) => Value::Text(text.clone()),
            Some(Kind::Word) => return self.named_operand(),
            _ => return Err(self.expected("a name or a value")),
        };
        self.next += 1;
        Ok(Operand::Literal(literal))
    }

    fn named_operand(&mut self) -> Result<Operand, PredicateError> {
        let word = self.word().unwrap_or_default().to_owned();
        let literal = match (word.as_str(), self.dialect) {
            ("true", _) | ("all", Dialect::Applies) => Some(Value::Bool(true)),
            ("false", _) => Some(Value::Bool(false)),
            ("pass", Dialect::Pass) => Some(Value::Outcome(Outcome::Pass)),
            ("fail", Dialect::Pass) => Some(Value::Outcome(Outcome::Fail)),
            ("unknown", Dialect::Pass) => Some(Value::Outcome(Outcome::Unknown)),
            _ => None,
        };
        if let Some(literal) = literal {
            self.next += 1;
            return Ok(Operand::Literal(literal));
        }
        let field = match self.dialect {
            Dialect::Applies if is_kebab(&word) && !is_reserved(&word) => Field::Fact(word),
            Dialect::Applies => return Err(self.expected("the name of a fact, in kebab-case")),
            Dialect::Pass if word == "outcome" => Field::Outcome,
            Dialect::Pass => match word.strip_prefix("facts.") {
                Some(name) if !name.is_empty() && !name.contains('.') => Field::Fact(name.into()),
                Some(_) => return Err(self.expected("the name of a fact after `facts.`")),
                None => return self.measured(&word),
            },
        };
        self.next += 1;
        Ok(Operand::Field(field))
    }

    fn measured(&mut self, word: &str) -> Result<Operand, PredicateError> {
        let Some(statistic) = Statistic::ALL.into_iter().find(|statistic| statistic.as_str() == word) else {
            return Err(self.expected("`outcome`, `facts.NAME`, `value(`, `n(`, `lower95(` or `upper95(`"));
        };
        self.next += 1;
        self.take(&Kind::Open, "`(`")?;
        let name = self.name("the name of a measurement")?;
        let mut attributes = Vec::new();
        while self.peek() == Some(&Kind::Comma) {
            self.next += 1;
            let attribute = self.name("the name of an attribute")?;
            self.take(&Kind::Assign, "`=`")?;
            let Some(Kind::Text(value)) = self.peek().cloned() else {
                return Err(self.expected("a value in single quotes"));
            };
            self.next += 1;
            attributes.push((attribute, value));
        }
        self.take(&Kind::Close, "`,` or `)`")?;
        attributes.sort();
        Ok(Operand::Field(Field::Measured(Measured { statistic, name, attributes })))
    }

    fn name(&mut self, expected: &str) -> Result<String, PredicateError> {
        match self.word() {
            Some(word) if !is_reserved(word) => {
                let word = word.to_owned();
                self.next += 1;
                Ok(word)
            }
            _ => Err(self.expected(expected)),
        }
    }

    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.next).map(|token| &token.kind)
    }

    fn word(&self) -> Option<&str> {
        let token = self.tokens.get(self.next).filter(|token| token.kind == Kind::Word)?;
        self.text.get(token.start..token.end)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.word() == Some(word);
        self.next += usize::from(found);
        found
    }

    fn take(&mut self, kind: &Kind, expected: &str) -> Result<(), PredicateError> {
        if self.peek() != Some(kind) {
            return Err(self.expected(expected));
        }
        self.next += 1;
        Ok(())
    }

    /// The text of the tokens from `first` up to the next one.
    fn source(&self, first: usize) -> String {
        let start = self.tokens.get(first).map(|token| token.start);
        let end = self.next.checked_sub(1).and_then(|last| self.tokens.get(last)).map(|token| token.end);
        let source = start.zip(end).and_then(|(start, end)| self.text.get(start..end));
        source.unwrap_or_default().to_owned()
    }

    fn expected(&self, expected: &str) -> PredicateError {
        let offset = self.tokens.get(self.next).map_or(self.text.len(), |token| token.start);
        error_at(self.text, offset, expected)
    }
}

fn join(mut terms: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    match terms.pop() {
        Some(only) if terms.is_empty() => only,
        last => {
            terms.extend(last);
            join(terms)
        }
    }
}

fn is_kebab(word: &str) -> bool {
    !word.contains(['_', '.']) && !word.ends_with('-') && !word.contains("--")
}

fn is_reserved(word: &str) -> bool {
    matches!(word, "and" | "or" | "not")
}

impl Op {
    fn complement(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterEqual,
            Self::GreaterEqual => Self::Less,
            Self::Greater => Self::LessEqual,
            Self::LessEqual => Self::Greater,
        }
    }

    pub(super) fn orders(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Bool,
    Number,
    Text,
    Outcome,
    /// Known only from the record.
    Open,
}

/// What a comparison would need instead, when its two sides can never be compared.
fn type_clash(left: &Operand, op: Op, right: &Operand) -> Option<&'static str> {
    let (left, right) = (type_of(left), type_of(right));
    let numeric = |side| matches!(side, Type::Number | Type::Open);
    if op.orders() && !(numeric(left) && numeric(right)) {
        return Some("numbers on both sides of an ordering");
    }
    let clash = left != right && left != Type::Open && right != Type::Open;
    clash.then_some("two values of one type")
}

fn type_of(operand: &Operand) -> Type {
    match operand {
        Operand::Literal(Value::Bool(_)) => Type::Bool,
        Operand::Literal(Value::Number(_)) | Operand::Field(Field::Measured(_)) => Type::Number,
        Operand::Literal(Value::Text(_)) => Type::Text,
        Operand::Literal(Value::Outcome(_)) | Operand::Field(Field::Outcome) => Type::Outcome,
        Operand::Field(Field::Fact(_)) => Type::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Predicate;
    use super::*;

    fn error(dialect: Dialect, text: &str) -> String {
        Predicate::parse(dialect, text).unwrap_err().to_string()
    }

    #[test]
    fn errors_give_the_column_and_what_was_expected() {
        for (text, message) in [
            ("", "column 1: expected a name or a value, found the end"),
            ("outcome == ", "column 12: expected a name or a value, found the end"),
            (
                "outcome == passed",
                "column 12: expected `outcome`, `facts.NAME`, `value(`, `n(`, `lower95(` or `upper95(`, found `passed`",
            ),
            ("(outcome == pass", "column 17: expected `)`, found the end"),
            ("outcome == pass outcome", "column 17: expected `and`, `or` or the end, found `outcome`"),
            ("facts.x == 'open", "column 12: expected a closing quote, found `'open`"),
            ("facts.x = 1", "column 9: expected a comparison such as `==`, found `=`"),
            ("value(x, attack=pgd) > 1", "column 17: expected a value in single quotes, found `pgd)`"),
            ("value(x) > 1.2.3", "column 12: expected a number, found `1.2.3`"),
            ("value(x) == 'a'", "column 1: expected two values of one type, found `value(x)`"),
            ("outcome < pass", "column 1: expected numbers on both sides of an ordering, found `outcome`"),
            ("value(x)", "column 1: expected two values of one type, found `value(x)`"),
            ("é", "column 1: expected a name, a value, a comparison or a parenthesis, found `é`"),
        ] {
            assert_eq!(error(Dialect::Pass, text), message, "{text}");
        }
        assert!(error(Dialect::Applies, "outcome_x").contains("kebab-case"));
        assert!(error(Dialect::Applies, "llm and and").starts_with("column 9:"));
    }

    #[test]
    fn text_and_nesting_are_bounded() {
        let nested = |n: usize| format!("{}true{}", "(".repeat(n), ")".repeat(n));
        assert!(Predicate::parse(Dialect::Pass, &nested(32)).is_ok());
        assert!(error(Dialect::Pass, &nested(33)).contains("32 levels"));
        assert!(error(Dialect::Pass, &format!("{}true", "not ".repeat(33))).contains("32 levels"));
        assert!(error(Dialect::Pass, &" ".repeat(2_001)).contains("2000 bytes"));
        assert!(Predicate::parse(Dialect::Pass, &vec!["true"; 200].join(" and ")).is_ok());
    }

    #[test]
    fn a_predicate_knows_the_fields_it_reads() {
        let predicate = Predicate::parse(
            Dialect::Pass,
            "outcome == pass and (facts.a or lower95(acc, norm='linf', attack='pgd') >= 0.3)",
        );
        let fields: Vec<String> = predicate.unwrap().fields().into_iter().map(ToString::to_string).collect();
        assert_eq!(fields, ["a", "outcome", "lower95(acc, attack='pgd', norm='linf')"]);
    }
}
