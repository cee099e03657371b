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

/// The tokens of each expression and statement, in order; text and comments between them are left out.
pub(crate) fn blocks(template: &str) -> impl Iterator<Item = Vec<Token>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        loop {
            rest = rest.get(rest.find('{')? + 1..).unwrap_or_default();
            let Some(kind) = rest.chars().next().filter(|kind| matches!(kind, '{' | '%' | '#')) else { continue };
            rest = rest.get(1..).unwrap_or_default();
            let mut tokens = Vec::new();
            rest = match kind {
                '#' => rest.split_once("#}").map_or("", |(_, after)| after),
                '{' => block(rest, "}}", false, &mut tokens),
                _ => block(rest, "%}", true, &mut tokens),
            };
            if !tokens.is_empty() {
                return Some(tokens);
            }
        }
    })
}

/// Most tokens kept of one block; a public chat template has some hundreds.
pub(crate) const BLOCK_TOKENS_MAX: usize = 1 << 16;

/// Reads one block up to `close` and returns what follows it. An unclosed block is a syntax error that nobody renders:
/// it gives nothing.
fn block<'a>(mut rest: &'a str, close: &str, is_statement: bool, out: &mut Vec<Token>) -> &'a str {
    let push = |out: &mut Vec<Token>, token| {
        if out.len() < BLOCK_TOKENS_MAX {
            out.push(token);
        }
    };
    let mut expects_tag = is_statement;
    rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix(close) {
            return after;
        }
        if c == '\'' || c == '"' {
            let (text, after) = literal(rest, c);
            push(out, Token::Text(text));
            rest = after;
        } else if c.is_alphanumeric() || c == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            push(out, if expects_tag { Token::Tag(word.into()) } else { Token::Name(word.into()) });
            expects_tag = false;
            rest = after;
        } else {
            if !c.is_whitespace() {
                push(out, Token::Sign(c));
            }
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    out.clear();
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
        if escape == '\n' {
            continue;
        }
        // A character by its name: the one that matters is the underscore.
        if let ('N', Some((name, _))) =
            (escape, source.get(i + 1..).and_then(|rest| rest.strip_prefix('{')?.split_once('}')))
        {
            text.push(if name.eq_ignore_ascii_case("LOW LINE") { '_' } else { char::REPLACEMENT_CHARACTER });
            chars.by_ref().take(name.chars().count() + 2).for_each(drop);
            continue;
        }
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
        let found: Vec<_> = blocks(r#"a {{ "x }} \x41\102\u0043" ~ y }} b {% set z = '\'' %}"#).collect();
        assert_eq!(
            found,
            [
                vec![Token::Text("x }} ABC".into()), Token::Sign('~'), Token::Name("y".into())],
                vec![Token::Tag("set".into()), Token::Name("z".into()), Token::Sign('='), Token::Text("'".into())],
            ]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[{}%#'\"\\\\a-z0-9_~+. é]{0,80}") {
            prop_assert!(blocks(&text).flatten().count() <= text.chars().count() + 1);
        }
    }
}
