//! Lines for a terminal: words flow to a width, and colour is laid over words that say the same without it.

use crate::render::Style;

/// Narrowest and widest lines we write.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=100;

/// How a word is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Plain,
    Bold,
    Dim,
    Red,
    RedBold,
    Yellow,
    Green,
    Cyan,
}

impl Ink {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Dim => Some("2"),
            Self::Red => Some("31"),
            Self::RedBold => Some("1;31"),
            Self::Yellow => Some("33"),
            Self::Green => Some("32"),
            Self::Cyan => Some("36"),
        }
    }
}

/// A run of words in one ink. Its text must have passed [`crate::render::safe`].
pub type Span<'a> = (Ink, &'a str);

/// The page being written.
pub struct Paper {
    out: String,
    color: bool,
    width: usize,
}

/// One word: its ink, its text, and whether a space stands before it.
struct Word<'a> {
    ink: Ink,
    text: &'a str,
    spaced: bool,
}

impl Paper {
    /// An empty page.
    pub fn new(style: Style) -> Self {
        Self { out: String::new(), color: style.color, width: style.width.clamp(*WIDTHS.start(), *WIDTHS.end()) }
    }

    /// What was written.
    pub fn into_text(self) -> String {
        self.out
    }

    /// Columns to a line.
    pub fn width(&self) -> usize {
        self.width
    }

    /// An empty line.
    pub fn gap(&mut self) {
        self.out.push('\n');
    }

    /// A heading after an empty line, with a remark beside it.
    pub fn heading(&mut self, title: &str, remark: &str) {
        self.gap();
        self.row(0, &[(Ink::Bold, title, 0)], 2, &[(Ink::Dim, remark)]);
    }

    /// `spans` from column `indent`, wrapped to column `hang`.
    pub fn flow(&mut self, indent: usize, hang: usize, spans: &[Span<'_>]) {
        self.row(indent, &[], hang, spans);
    }

    /// `cells`, each padded to its width with two columns between, then `spans`, wrapped below where they began.
    ///
    /// On a page too narrow for that, `spans` go on below the cells, from column `hang`.
    pub fn row(&mut self, indent: usize, cells: &[(Ink, &str, usize)], hang: usize, spans: &[Span<'_>]) {
        self.out.push_str(&" ".repeat(indent));
        let cells_end: usize = cells.iter().map(|(_, text, width)| columns(text).max(*width) + 2).sum();
        if indent + cells_end > self.width + 2 {
            let joined = cells.iter().flat_map(|(ink, text, _)| [(*ink, *text), (Ink::Plain, " ")]);
            let all: Vec<Span<'_>> = joined.chain(spans.iter().copied()).collect();
            return self.words(indent, indent + 4, &all);
        }
        let mut column = indent;
        for (ink, text, width) in cells {
            self.paint(*ink, text);
            let pad = width.saturating_sub(columns(text)) + 2;
            self.out.push_str(&" ".repeat(pad));
            column += columns(text) + pad;
        }
        let needed: usize = spans.iter().map(|(_, text)| columns(text)).sum();
        let fits = column + needed <= self.width;
        let mut hang = if cells.is_empty() { hang } else { column };
        if !cells.is_empty() && !fits && column > self.width / 2 {
            hang = indent + 4;
            self.new_line(hang);
            column = hang;
        }
        self.words(column, hang, spans);
    }

    fn words(&mut self, start: usize, hang: usize, spans: &[Span<'_>]) {
        let mut column = start;
        let mut first = true;
        for word in split(spans) {
            let space = usize::from(word.spaced && !first);
            let length = columns(word.text);
            if column + space + length > self.width && word.spaced && !first {
                self.new_line(hang);
                column = hang;
            } else if space == 1 {
                self.out.push(' ');
                column += 1;
            }
            column = self.word(column, hang, &word);
            first = false;
        }
        self.end_line();
    }

    /// One word, cut where it is longer than a line.
    fn word(&mut self, start: usize, hang: usize, word: &Word<'_>) -> usize {
        let mut column = start;
        let mut piece = String::new();
        for char in word.text.chars() {
            let length = char_columns(char);
            if column + length > self.width && !piece.is_empty() {
                self.paint(word.ink, &piece);
                piece.clear();
                self.new_line(hang);
                column = hang;
            }
            piece.push(char);
            column += length;
        }
        self.paint(word.ink, &piece);
        column
    }

    fn paint(&mut self, ink: Ink, text: &str) {
        match ink.code().filter(|_| self.color && !text.is_empty()) {
            Some(code) => {
                self.out.push_str("\u{1b}[");
                self.out.push_str(code);
                self.out.push('m');
                self.out.push_str(text);
                self.out.push_str("\u{1b}[0m");
            }
            None => self.out.push_str(text),
        }
    }

    fn new_line(&mut self, indent: usize) {
        self.end_line();
        self.out.push_str(&" ".repeat(indent));
    }

    fn end_line(&mut self) {
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.out.push('\n');
    }
}

fn split<'a>(spans: &[Span<'a>]) -> Vec<Word<'a>> {
    let mut words = Vec::new();
    let mut spaced = false;
    for (ink, text) in spans {
        for (n, part) in text.split(' ').enumerate() {
            spaced |= n > 0;
            if part.is_empty() {
                continue;
            }
            words.push(Word { ink: *ink, text: part, spaced });
            spaced = false;
        }
    }
    words
}

/// Columns a terminal gives to `text`.
pub fn columns(text: &str) -> usize {
    text.chars().map(char_columns).sum()
}

/// Two for East Asian wide characters and emoji, none for combining marks, else one (after Unicode TR 11, by block).
fn char_columns(char: char) -> usize {
    match char {
        '\u{300}'..='\u{36f}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}' => 0,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{303e}' | '\u{3041}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' => 2,
        '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff01}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}' => 2,
        '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper(width: usize) -> Paper {
        Paper::new(Style { color: false, width })
    }

    #[test]
    fn words_wrap_below_where_they_began() {
        let mut paper = paper(40);
        paper.row(2, &[(Ink::Red, "fail", 6)], 4, &[(Ink::Plain, "one two three four five six seven eight")]);
        assert_eq!(paper.into_text(), "  fail    one two three four five six\n          seven eight\n");
    }

    #[test]
    fn a_word_longer_than_a_line_is_cut_and_none_is_lost() {
        let long = "x".repeat(95);
        let mut paper = paper(40);
        paper.flow(0, 2, &[(Ink::Plain, &long)]);
        let text = paper.into_text();
        assert_eq!(text.matches('x').count(), 95);
        assert!(text.lines().all(|line| columns(line) <= 40), "{text}");
    }

    #[test]
    fn colour_is_laid_over_the_same_words() {
        let write = |color| {
            let mut paper = Paper::new(Style { color, width: 60 });
            paper.flow(0, 0, &[(Ink::RedBold, "critical"), (Ink::Plain, " thing")]);
            paper.into_text()
        };
        assert_eq!(write(false), "critical thing\n");
        assert_eq!(write(true), "\u{1b}[1;31mcritical\u{1b}[0m thing\n");
    }
}
