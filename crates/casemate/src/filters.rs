//! Which files of a walk are looked at: `--include` and `--exclude`, plain globs over the path as reports show it.
//!
//! A pattern is no way to hide: what it leaves out is counted and named, and a scan with filters never becomes evidence.
//! Globs name files, not what is inside of archives: an archive is looked at whole or not at all.
//!
//! `*` any characters but `/`, `?` one of them, `[a-z]` and `[!a-z]` one of a set, `**` as a whole component any number of
//! components. A pattern without `/` means a file or directory of that name anywhere; one with `/` begins where the shown
//! path begins. A pattern that means a directory means everything below it. There is no negation and no order: a file is
//! looked at when some include means it, or none was given, and no exclude does.

use serde::Serialize;

/// Longest pattern in bytes; also bounds the work of a match.
const PATTERN_BYTES_MAX: usize = 1024;

/// What to look at.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// When there are any, only what one of them means.
    pub include: Vec<Glob>,
    /// Nothing that one of these means.
    pub exclude: Vec<Glob>,
}

/// A file that was left out because somebody asked for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LeftOut {
    /// Path as shown.
    pub path: String,
    /// Which option left it out.
    pub reason: String,
}

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    /// Whether it means a path from its beginning, rather than a name anywhere.
    is_path: bool,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Any,
    Name(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Star,
    One,
    Char(char),
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Filters {
    /// Whether everything is looked at.
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Why the file shown as `path` is left out, if it is.
    pub fn leaves_out(&self, path: &str) -> Option<String> {
        if let Some(glob) = self.exclude.iter().find(|glob| glob.means(path)) {
            return Some(format!("--exclude {}", glob.text));
        }
        let missed = !self.include.is_empty() && !self.include.iter().any(|glob| glob.means(path));
        missed.then(|| "no --include means it".to_owned())
    }
}

/// What a reader has to know about files that were left out, if any were.
pub fn remark(left_out: &[LeftOut]) -> Option<String> {
    const SHOWN_MAX: usize = 5;
    let more = left_out.len().saturating_sub(SHOWN_MAX);
    let mut named: Vec<String> =
        left_out.iter().take(SHOWN_MAX).map(|file| format!("{} ({})", file.path, file.reason)).collect();
    if more > 0 {
        named.push(format!("{more} more, all of them in the JSON report"));
    }
    let files = if left_out.len() == 1 { "1 file".to_owned() } else { format!("{} files", left_out.len()) };
    (!left_out.is_empty())
        .then(|| format!("left out on request: {files}; nothing is said about them: {}", named.join(", ")))
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// One line that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern may have {PATTERN_BYTES_MAX} bytes"));
        }
        let is_path = text.trim_end_matches('/').contains('/');
        let parts: Vec<Part> = components(text).map(part).collect::<Result<_, _>>()?;
        match parts.is_empty() {
            true => Err("an empty pattern means nothing; `**` means everything".into()),
            false => Ok(Self { text: text.to_owned(), is_path, parts }),
        }
    }

    /// Whether it means the file shown as `path`, or a directory above it.
    pub fn means(&self, path: &str) -> bool {
        let names: Vec<Vec<char>> = components(path).map(|name| name.chars().collect()).collect();
        match (self.is_path, self.parts.as_slice()) {
            (false, [Part::Name(tokens)]) => names.iter().any(|name| fits_name(tokens, name)),
            _ => (1..=names.len()).any(|n| fits_path(&self.parts, names.get(..n).unwrap_or_default())),
        }
    }
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !matches!(*name, "" | "."))
}

fn part(text: &str) -> Result<Part, String> {
    match text {
        "**" => Ok(Part::Any),
        _ => tokens(text).map(Part::Name),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        tokens.push(match char {
            '*' => Token::Star,
            '?' => Token::One,
            '[' => set(&mut chars).ok_or_else(|| format!("`[` in `{text}` is never closed, or empty"))?,
            char => Token::Char(char),
        });
    }
    Ok(tokens)
}

/// The rest of a set after its `[`. A `]` at its beginning and a `-` at its ends stand for themselves.
fn set(chars: &mut std::str::Chars<'_>) -> Option<Token> {
    let rest = chars.as_str();
    let negated = rest.starts_with(['!', '^']);
    let body = if negated { rest.get(1..)? } else { rest };
    let close = body.char_indices().skip(1).find(|(_, char)| *char == ']')?.0;
    let members: Vec<char> = body.get(..close)?.chars().collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(low) = members.get(at) {
        match (members.get(at + 1), members.get(at + 2)) {
            (Some('-'), Some(high)) => {
                ranges.push((*low, *high));
                at += 3;
            }
            _ => {
                ranges.push((*low, *low));
                at += 1;
            }
        }
    }
    *chars = body.get(close + 1..)?.chars();
    Some(Token::Set { negated, ranges })
}

fn fits_path(parts: &[Part], names: &[Vec<char>]) -> bool {
    fits(parts, names, &|part| *part == Part::Any, &|part, name| match part {
        Part::Name(tokens) => fits_name(tokens, name),
        Part::Any => true,
    })
}

fn fits_name(tokens: &[Token], name: &[char]) -> bool {
    fits(tokens, name, &|token| *token == Token::Star, &|token, char| match token {
        Token::Star | Token::One => true,
        Token::Char(wanted) => wanted == char,
        Token::Set { negated, ranges } => ranges.iter().any(|(low, high)| (low..=high).contains(&char)) != *negated,
    })
}

/// Whether `pattern` fits all of `text`. Only the last star met is ever tried again, so the work is at most the product of
/// the lengths, whatever the pattern.
fn fits<P, T>(pattern: &[P], text: &[T], is_star: &dyn Fn(&P) -> bool, one: &dyn Fn(&P, &T) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut again: Option<(usize, usize)> = None;
    while let Some(item) = text.get(t) {
        match (pattern.get(p), again) {
            (Some(star), _) if is_star(star) => {
                again = Some((p, t));
                p += 1;
            }
            (Some(single), _) if one(single, item) => (p, t) = (p + 1, t + 1),
            (_, Some((star, from))) => {
                again = Some((star, from + 1));
                (p, t) = (star + 1, from + 1);
            }
            (_, None) => return false,
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(is_star)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_the_help_says() {
        for (pattern, path, means) in [
            ("*.bin", "a/b/model.bin", true),
            ("*.bin", "model.bins", false),
            ("cache", "a/cache/model.pt", true),
            ("cache/", "a/cache/model.pt", true),
            ("cache", "a/cached/model.pt", false),
            ("a/*", "a/b/model.pt", true),
            ("a/*.pt", "a/b/model.pt", false),
            ("a/**/*.pt", "a/model.pt", true),
            ("a/**/*.pt", "a/b/c/model.pt", true),
            ("a/**", "b/a/model.pt", false),
            ("**/a/**", "b/a/model.pt", true),
            ("**", "anything", true),
            ("./a/model.pt", "a/model.pt", true),
            ("/data/*.pt", "/data/model.pt", true),
            ("model-?.pt", "model-1.pt", true),
            ("model-?.pt", "model-12.pt", false),
            ("[a-c]*.pt", "beta.pt", true),
            ("[!a-c]*.pt", "beta.pt", false),
            ("[]x].pt", "].pt", true),
            ("[a-].pt", "-.pt", true),
            ("*a*b*c", "xxaxxbxxbxxc", true),
            ("*a*b*c", "xxaxxcxxb", false),
            ("résum?.pt", "résumé.pt", true),
            ("MODEL.pt", "model.pt", false),
        ] {
            assert_eq!(Glob::parse(pattern).unwrap().means(path), means, "{pattern} {path}");
        }
        for wrong in ["", "/", ".", "[", "[]", "[!", "a[b", &"x".repeat(2000)] {
            assert!(Glob::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_the_product_of_the_lengths() {
        // Backtracking over every star would not end in this century.
        let glob = Glob::parse(&"*a".repeat(500)).unwrap();
        assert!(!glob.means(&"a".repeat(499)));
        assert!(!glob.means(&format!("{}b", "a".repeat(4000))));
    }

    #[test]
    fn an_exclude_wins_and_an_include_leaves_out_the_rest() {
        let globs = |texts: &[&str]| texts.iter().map(|text| Glob::parse(text).unwrap()).collect();
        let filters = Filters { include: globs(&["*.pt", "*.onnx"]), exclude: globs(&["old"]) };
        assert_eq!(filters.leaves_out("a/model.pt"), None);
        assert_eq!(filters.leaves_out("old/model.pt").as_deref(), Some("--exclude old"));
        assert_eq!(filters.leaves_out("a/model.bin").as_deref(), Some("no --include means it"));
        assert_eq!(Filters::default().leaves_out("x"), None);
    }
}
