//! Findings somebody accepted, for a while: kept in the report, marked, and left out of the exit code of `scan`.
//!
//! Evidence is written before anything is accepted, so acceptance never reaches ledger, controls or score; a waiver is
//! what opens gates. What says "not judged" cannot be accepted: nobody knows what it would be that was accepted.

use casemate_artifact::detectors::DETECTORS;
use casemate_artifact::verdict_unscannable;
use casemate_core::{Acceptance, Finding, Timestamp};
use serde::Deserialize;
use toml::value::Datetime;

use crate::comparison;
use crate::config::at_line;
use crate::exit::Failure;
use crate::render::fingerprint;
use crate::scanning::Scanned;

/// Longest time from today for which a finding may be accepted.
const DAYS_MAX: i64 = 365;

/// Most entries of one file.
const ENTRIES_MAX: usize = 10_000;

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1024;

/// A file of accepted findings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptedFile {
    #[serde(default)]
    accept: Vec<Entry>,
    #[serde(skip)]
    file: String,
}

/// `[[accept]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Id of the rule.
    rule: String,
    /// Path as the report shows it; `*` stands for anything but a slash, `**` for anything, `?` for one character.
    path: String,
    /// The finding's fingerprint in SARIF, where one of several in a file is meant.
    fingerprint: Option<String>,
    /// Why.
    reason: String,
    /// Last day.
    expires: Datetime,
    /// Who agreed.
    approved_by: Option<String>,
}

impl AcceptedFile {
    /// Reads a file of accepted findings.
    ///
    /// # Errors
    /// Every mistake that would accept something else than was meant, or for longer than a year, with its place.
    pub fn parse(file: &str, text: &str, now: Timestamp) -> Result<Self, Failure> {
        let at = |what: &dyn std::fmt::Display| Failure::usage(format!("baseline `{file}`: {what}"));
        let mut parsed: Self = toml::from_str(text).map_err(|error| at(&at_line(text, &error)))?;
        if parsed.accept.is_empty() {
            return Err(at(&"is neither a table of tensors nor a list of `[[accept]]` entries"));
        }
        if parsed.accept.len() > ENTRIES_MAX {
            return Err(at(&format!("has more than {ENTRIES_MAX} entries")));
        }
        let latest = now.plus_days(DAYS_MAX).date();
        for (n, entry) in parsed.accept.iter().enumerate() {
            entry.check(&latest).map_err(|what| at(&format!("entry {}: {what}", n + 1)))?;
        }
        parsed.file = file.into();
        Ok(parsed)
    }

    /// Marks the findings that are accepted today; returns what a reader has to know: entries expired, and entries that
    /// accept nothing.
    pub fn apply(&self, scanned: &mut Scanned, now: Timestamp) -> Vec<String> {
        let today = now.date();
        let mut remarks = Vec::new();
        let mut accepted = 0;
        for (n, entry) in self.accept.iter().enumerate() {
            let expires = entry.expires();
            let name = format!("baseline `{}`, entry {} (`{}` in `{}`)", self.file, n + 1, entry.rule, entry.path);
            let found = findings_of(scanned).filter(|finding| entry.covers(finding));
            let expired = expires < today;
            let mut covered = 0;
            for finding in found {
                covered += 1;
                if !expired && finding.accepted.is_none() {
                    accepted += 1;
                    finding.accepted = Some(entry.acceptance());
                }
            }
            match (expired, covered) {
                (true, 0) => remarks.push(format!("EXPIRED: {name} ended {expires} and finds nothing; remove it")),
                (true, n) => remarks.push(format!(
                    "EXPIRED: {name} ended {expires} and no longer accepts the {n} it covers; mend or accept anew"
                )),
                (false, 0) => remarks.push(format!("{name} accepts nothing that was found; remove it")),
                (false, _) => {}
            }
        }
        if accepted > 0 {
            remarks.push(format!("{accepted} accepted findings do not count for the exit code; evidence keeps them"));
        }
        remarks
    }
}

fn findings_of(scanned: &mut Scanned) -> impl Iterator<Item = &mut Finding> {
    scanned.files.iter_mut().flat_map(|file| &mut file.report.findings).chain(&mut scanned.others)
}

impl Entry {
    fn check(&self, latest: &str) -> Result<(), String> {
        let mut known =
            DETECTORS.iter().map(|detector| detector.meta().id).chain(comparison::RULES.iter().map(|m| m.id));
        let rule = self.rule.escape_debug();
        if !known.any(|known| known == self.rule) {
            return Err(format!("`{rule}` is no rule"));
        }
        if verdict_unscannable(&self.rule) {
            return Err(format!("`{rule}` says that something was not judged, which cannot be accepted"));
        }
        if self.reason.trim().is_empty() {
            return Err("`reason` is empty".into());
        }
        if self.path.is_empty() || self.path.len() > PATTERN_BYTES_MAX {
            return Err(format!("`path` must have 1 to {PATTERN_BYTES_MAX} bytes"));
        }
        match (self.expires.date, self.expires.time) {
            (Some(_), None) if self.expires().as_str() > latest => {
                let expires = self.expires();
                Err(format!("expires {expires}, more than {DAYS_MAX} days ahead; use {latest} or earlier"))
            }
            (Some(_), None) => Ok(()),
            _ => Err("`expires` must be a date such as 2027-01-31".into()),
        }
    }

    fn expires(&self) -> String {
        self.expires.date.map(|date| date.to_string()).unwrap_or_default()
    }

    fn acceptance(&self) -> Acceptance {
        Acceptance {
            reason: self.reason.trim().to_owned(),
            expires: self.expires(),
            approved_by: self.approved_by.clone(),
        }
    }

    fn covers(&self, finding: &Finding) -> bool {
        let plain = |path: &str| path.trim_start_matches("./").to_owned();
        self.rule == finding.rule
            && matches(plain(&self.path).as_bytes(), plain(&finding.location.path).as_bytes())
            && self.fingerprint.as_ref().is_none_or(|wanted| {
                let is = fingerprint(finding);
                *wanted == is || wanted.rsplit_once(':').is_some_and(|(key, _)| key == is)
            })
    }
}

/// Whether a path fits a pattern: one row of answers per pattern part, so no pattern costs more than their product.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    // `reach[i]`: the pattern so far fits the first `i` bytes of the path.
    let mut reach = vec![false; path.len() + 1];
    if let Some(first) = reach.first_mut() {
        *first = true;
    }
    let mut rest = pattern;
    while let Some((byte, after)) = rest.split_first() {
        let (is_star, crosses) = (*byte == b'*', after.first() == Some(&b'*'));
        let mut next = vec![false; reach.len()];
        let mut before = false;
        for (i, slot) in next.iter_mut().enumerate() {
            let here = reach.get(i).copied().unwrap_or(false);
            let last = i.checked_sub(1).and_then(|i| path.get(i)).copied();
            *slot = match is_star {
                true => here || before && (crosses || last != Some(b'/')),
                false => {
                    let was = i.checked_sub(1).and_then(|i| reach.get(i)).copied().unwrap_or(false);
                    was && (last == Some(*byte) || *byte == b'?' && last != Some(b'/'))
                }
            };
            before = *slot;
        }
        reach = next;
        rest = if is_star && crosses { after.get(1..).unwrap_or_default() } else { after };
    }
    reach.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_paths_as_people_mean_them() {
        for (pattern, path, fits) in [
            ("a.pkl", "a.pkl", true),
            ("*.pkl", "a.pkl", true),
            ("*.pkl", "models/a.pkl", false),
            ("**.pkl", "models/deep/a.pkl", true),
            ("models/*/a.pkl", "models/x/a.pkl", true),
            ("models/**", "models/x/a.pkl", true),
            ("model?.pt", "model1.pt", true),
            ("a?b", "a/b", false),
            ("a.pkl", "a.pkl2", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), path.as_bytes()), fits, "{pattern} {path}");
        }
        assert!(!matches("*a".repeat(300).as_bytes(), "a".repeat(299).as_bytes()));
    }

    #[test]
    fn entries_that_would_accept_something_else_are_refused() {
        let now = Timestamp::from_unix_ms(1_795_253_400_000);
        let parse = |text: &str| AcceptedFile::parse("accepted.toml", text, now).map_err(|failure| failure.message);
        let entry = |rule: &str, reason: &str, expires: &str| {
            format!("[[accept]]\nrule = \"{rule}\"\npath = \"*\"\nreason = \"{reason}\"\nexpires = {expires}\n")
        };
        assert!(parse(&entry("unsafe-format", "known", "2027-01-01")).is_ok());
        for (text, says) in [
            (entry("unsafe-formt", "known", "2027-01-01"), "no rule"),
            (entry("content-encrypted", "known", "2027-01-01"), "not judged"),
            (entry("unsafe-format", " ", "2027-01-01"), "reason"),
            (entry("unsafe-format", "known", "2027-12-01"), "365 days"),
            (entry("unsafe-format", "known", "2027-01-01T10:00:00Z"), "date"),
            (entry("unsafe-format", "known", "\"soon\""), "line 5"),
            ("[[accept]]\nrule = \"unsafe-format\"\npath = \"*\"\nreason = \"known\"\n".into(), "expires"),
            ("# nothing\n".into(), "neither"),
            ("][".into(), "line 1"),
        ] {
            let message = parse(&text).err().unwrap_or_default();
            assert!(message.contains(says), "{says}: {message}");
        }
    }
}
