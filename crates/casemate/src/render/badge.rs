//! The report as a badge: a small SVG that says the score, or for scans the verdict, in words and colour.

use casemate_artifact::Verdict;
use maud::{PreEscaped, html};

use super::{beside, percent, verdict};
use crate::report::{Posture, Report};

/// Left half of the badge, in pixels.
const LABEL_WIDTH: usize = 70;

/// Width of one character at 11 px, in pixels: wide enough for every digit and letter of our own words.
const CHARACTER_WIDTH: usize = 7;

/// An SVG without script, style or outside resource.
pub fn render(report: &Report) -> String {
    let (text, title, color) = match &report.posture {
        Some(posture) => of_score(posture),
        None => of_verdict(report),
    };
    let value_width = text.chars().count() * CHARACTER_WIDTH + 14;
    let width = LABEL_WIDTH + value_width;
    let middle = LABEL_WIDTH + value_width / 2;
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height="20" viewBox=(format!("0 0 {width} 20")) role="img"
            aria-labelledby="title" {
            title id="title" { (title) }
            clipPath id="round" { rect width=(width) height="20" rx="4" {} }
            g clip-path="url(#round)" {
                rect width=(LABEL_WIDTH) height="20" fill="#2f3640" {}
                rect x=(LABEL_WIDTH) width=(value_width) height="20" fill=(color) {}
            }
            g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11"
                aria-hidden="true" {
                text x=(LABEL_WIDTH / 2) y="14" { "casemate" }
                text x=(middle) y="14" { (text) }
            }
        }
        (PreEscaped("\n"))
    };
    svg.into_string()
}

/// Text, title and colour; each colour has a contrast of at least 4.5 with white.
fn of_score(posture: &Posture) -> (String, String, &'static str) {
    let score = &posture.score;
    let color = match score.value {
        80.. => "#1a7f37",
        50..=79 => "#8a5a00",
        _ => "#b42318",
    };
    let counts: Vec<String> = beside(posture).into_iter().map(|(word, n)| format!("{n} {word}")).collect();
    let title =
        format!("casemate: score {} of 100, coverage {}, {}", score.value, percent(score.coverage), counts.join(", "));
    (format!("{}/100", score.value), title, color)
}

fn of_verdict(report: &Report) -> (String, String, &'static str) {
    let (text, color) = match verdict(report) {
        Some(Verdict::Clean) => ("clean", "#1a7f37"),
        Some(Verdict::Unscannable) => ("unscannable", "#8a5a00"),
        Some(Verdict::Suspicious) => ("suspicious", "#a3460b"),
        Some(Verdict::Malicious) => ("malicious", "#b42318"),
        None => ("nothing scanned", "#57606a"),
    };
    let title = match report.artifacts.is_empty() {
        true => "casemate: nothing was scanned".to_owned(),
        false => format!("casemate: {text}; {}", super::files_line(report)),
    };
    (text.to_owned(), title, color)
}
