//! Tokens of Jinja templates, as far as judging them needs.
//!
//! Linear in the length, without nesting and without state beyond the current block, so that no template can cost more
//! than reading it. Source: Jinja 3.1 `lexer.py`.

/// One token inside `{{ … }}` or `{% … %}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// The first word of a `{% … %}`.
    Tag(String),
    /// Any other word.
    Name(String),
    /// A string literal, escapes decoded.
    Text(String),
    /// Any other character.
    Sign(char),
}

/// The tokens of all expressions and statements, in order; text and comments between them are left out.
pub(crate) fn tokens(template: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        rest = rest.get(open + 1..).unwrap_or_default();
        let Some(kind) = rest.chars().next().filter(|kind| matches!(kind, '{' | '%' | '#')) else { continue };
        rest = rest.get(1..).unwrap_or_default();
        rest = match kind {
            '#' => rest.split_once("#}").map_or("", |(_, after)| after),
            '{' => block(rest, "}}", false, &mut out),
            _ => block(rest, "%}", true, &mut out),
        };
        // A block is a boundary: nothing is glued across it.
        out.push(Token::Sign('\n'));
    }
    out
}

/// Reads one block up to `close` and returns what follows it. An unclosed block is a syntax error that nobody renders:
/// it gives nothing.
fn block<'a>(mut rest: &'a str, close: &str, is_statement: bool, out: &mut Vec<Token>) -> &'a str {
    let before = out.len();
    let mut expects_tag = is_statement;
    rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix(close) {
            return after;
        }
        if c == '\'' || c == '"' {
            let (text, after) = literal(rest, c);
            out.push(Token::Text(text));
            rest = after;
        } else if c.is_alphanumeric() || c == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            out.push(if expects_tag { Token::Tag(word.into()) } else { Token::Name(word.into()) });
            expects_tag = false;
            rest = after;
        } else {
            if !c.is_whitespace() {
                out.push(Token::Sign(c));
            }
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    out.truncate(before);
    rest
}

/// A string literal with Python's escapes decoded, and what follows it.
fn literal(source: &str, quote: char) -> (String, &str) {
    let mut text = String::new();
    let mut chars = source.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        if c == quote {
            return (text, source.get(i + c.len_utf8()..).unwrap_or_default());
        }
        if c != '\\' {
            text.push(c);
            continue;
        }
        let Some((i, escape)) = chars.next() else { break };
        let (digits, radix) = match escape {
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='7' => (3, 8),
            _ => (0, 10),
        };
        let from = if radix == 8 { i } else { i + 1 };
        let code = source.get(from..from + digits).filter(|_| digits > 0);
        match code.and_then(|code| u32::from_str_radix(code, radix).ok()).and_then(char::from_u32) {
            Some(decoded) => {
                text.push(decoded);
                let skip = digits - usize::from(radix == 8);
                chars.by_ref().take(skip).for_each(drop);
            }
            None => text.push(match escape {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strings_hide_the_ends_of_blocks_and_escapes_decode() {
        let found = tokens(r#"a {{ "x }} \x41\102\u0043" ~ y }} b {% set z = '\'' %}"#);
        assert_eq!(
            found,
            [
                Token::Text("x }} ABC".into()),
                Token::Sign('~'),
                Token::Name("y".into()),
                Token::Sign('\n'),
                Token::Tag("set".into()),
                Token::Name("z".into()),
                Token::Sign('='),
                Token::Text("'".into()),
                Token::Sign('\n'),
            ]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[{}%#'\"\\\\a-z0-9_~+. é]{0,80}") {
            prop_assert!(tokens(&text).len() <= text.chars().count() + 1);
        }
    }
}
