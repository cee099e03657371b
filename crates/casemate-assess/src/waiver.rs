//! Waivers: a person answers for an open control, in a file, for a while.
//!
//! A waiver opens gates and never touches the score. It names an owner and another person who approved it, says what protects
//! meanwhile, and ends: tools with an optional expiry collect permanent exceptions. A waiver that breaks a rule opens nothing.

use casemate_core::{Severity, Timestamp};
use serde::{Deserialize, Serialize};

use crate::catalogue::Catalogue;
use crate::control::Control;
use crate::toml_text;

/// Longest term for a critical control, in days.
const DAYS_MAX_CRITICAL: i64 = 90;

/// Longest term for any other control, in days.
const DAYS_MAX: i64 = 180;

/// How long before its end a waiver is warned about, in days.
const WARNING_DAYS: i64 = 14;

/// One waiver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Waiver {
    /// Id of the control.
    pub control: String,
    /// Name of the subject, or `*` for all.
    pub scope: String,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// Who agreed; another person.
    pub approver: String,
    /// From when on.
    pub created: Timestamp,
    /// Until when.
    pub expires: Timestamp,
    /// What protects meanwhile.
    pub compensating_control: String,
    /// The file it stands in.
    pub file: String,
}

/// How much a finding about a waiver matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WaiverLevel {
    /// It opens nothing.
    Error,
    /// It opens gates, but not for long.
    Warning,
}

/// Something wrong with a waiver.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct WaiverFinding {
    /// The file.
    pub file: String,
    /// The control it names, or its place in the file.
    pub waiver: String,
    /// How much it matters.
    pub level: WaiverLevel,
    /// What is wrong, in one line.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileToml {
    #[serde(default)]
    waiver: Vec<WaiverToml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WaiverToml {
    control: Option<String>,
    scope: Option<String>,
    reason: Option<String>,
    owner: Option<String>,
    approver: Option<String>,
    #[serde(default, deserialize_with = "toml_text::optional_date")]
    created: Option<Timestamp>,
    #[serde(default, deserialize_with = "toml_text::optional_date")]
    expires: Option<Timestamp>,
    compensating_control: Option<String>,
}

/// The waivers of a file, and what could not be read as one.
pub fn parse(file: &str, text: &str) -> (Vec<Waiver>, Vec<WaiverFinding>) {
    let error = |waiver: String, message: String| WaiverFinding {
        file: file.into(),
        waiver,
        level: WaiverLevel::Error,
        message,
    };
    let toml: FileToml = match toml_text::parse(text) {
        Ok(toml) => toml,
        Err(problem) => return (Vec::new(), vec![error("the file".into(), problem.to_string())]),
    };
    let mut waivers = Vec::new();
    let mut findings = Vec::new();
    for (n, toml) in toml.waiver.into_iter().enumerate() {
        let place = toml.control.clone().unwrap_or_else(|| format!("waiver {}", n + 1));
        match complete(file, toml) {
            Ok(waiver) => waivers.push(waiver),
            Err(missing) => {
                findings.extend(missing.into_iter().map(|key| error(place.clone(), format!("`{key}` is missing"))));
            }
        }
    }
    (waivers, findings)
}

fn complete(file: &str, toml: WaiverToml) -> Result<Waiver, Vec<&'static str>> {
    let mut missing = Vec::new();
    let mut text = |key, value: Option<String>| {
        let value = value.map(|value| value.trim().to_owned()).unwrap_or_default();
        if value.is_empty() {
            missing.push(key);
        }
        value
    };
    let control = text("control", toml.control);
    let scope = text("scope", toml.scope);
    let reason = text("reason", toml.reason);
    let owner = text("owner", toml.owner);
    let approver = text("approver", toml.approver);
    let compensating_control = text("compensating_control", toml.compensating_control);
    missing.extend(toml.created.is_none().then_some("created"));
    missing.extend(toml.expires.is_none().then_some("expires"));
    match (toml.created, toml.expires) {
        (Some(created), Some(expires)) if missing.is_empty() => {
            let file = file.to_owned();
            Ok(Waiver { control, scope, reason, owner, approver, created, expires, compensating_control, file })
        }
        _ => Err(missing),
    }
}

/// Everything wrong with `waivers` at `now`, in order of file and control. Expired is an error, expiring within 14 days a
/// warning.
pub fn lint(waivers: &[Waiver], catalogue: &Catalogue, now: Timestamp) -> Vec<WaiverFinding> {
    let mut findings = Vec::new();
    for waiver in waivers {
        let control = catalogue.control(&waiver.control);
        let mut add = |level, message| {
            let (file, waiver) = (waiver.file.clone(), waiver.control.clone());
            findings.push(WaiverFinding { file, waiver, level, message });
        };
        if control.is_none() {
            add(WaiverLevel::Error, format!("`{}` is no control", waiver.control));
        }
        let problems = waiver.problems(control.map_or(Severity::Low, |control| control.severity), now);
        let holds = problems.is_empty();
        problems.into_iter().for_each(|message| add(WaiverLevel::Error, message));
        if holds && waiver.expires < now.plus_days(WARNING_DAYS) {
            add(WaiverLevel::Warning, format!("expires soon, on {}", waiver.expires.date()));
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

impl Waiver {
    /// Why it opens nothing at `now`; empty when it holds.
    fn problems(&self, severity: Severity, now: Timestamp) -> Vec<String> {
        let mut problems = Vec::new();
        if same_person(&self.owner, &self.approver) {
            problems.push(format!("`{}` approves their own waiver", self.owner));
        }
        let days_max = if severity == Severity::Critical { DAYS_MAX_CRITICAL } else { DAYS_MAX };
        if self.expires <= self.created {
            problems.push("expires before it begins".into());
        } else if self.expires > self.created.plus_days(days_max) {
            problems.push(format!("lasts longer than {days_max} days, the most for a {severity} control"));
        }
        if self.created > now {
            problems.push(format!("begins only on {}", self.created.date()));
        }
        if self.expires <= now {
            problems.push(format!("expired on {}", self.expires.date()));
        }
        problems
    }

    /// It in one line.
    pub fn summary(&self) -> String {
        format!(
            "waived until {} by {}, approved by {}: {}; meanwhile {}",
            self.expires.date(),
            self.owner,
            self.approver,
            self.reason,
            self.compensating_control
        )
    }
}

fn same_person(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.trim().to_lowercase()
}

/// The waiver that covers `control` for a subject of one of `names` at `now`; of several, the one that lasts longest.
pub(crate) fn covering<'a>(
    waivers: &'a [Waiver],
    control: &Control,
    names: &[&str],
    now: Timestamp,
) -> Option<&'a Waiver> {
    let covers = |waiver: &&Waiver| {
        waiver.control == control.id
            && (waiver.scope == "*" || names.contains(&waiver.scope.as_str()))
            && waiver.problems(control.severity, now).is_empty()
    };
    waivers.iter().filter(covers).max_by_key(|waiver| (waiver.expires, *waiver))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, ControlText, NOW};

    const SOUND: &str = r#"
[[waiver]]
control = "SUP-01"
scope = "*"
reason = "the vendor ships pickles until March"
owner = "ada"
approver = "grace"
created = 2026-11-01
expires = 2027-01-15
compensating_control = "loaded in a sandbox without network"
"#;

    fn found(text: &str) -> Vec<(WaiverLevel, String)> {
        let catalogue = fixture::catalogue(&[ControlText::new("SUP-01").severity("critical")]);
        let (waivers, mut findings) = parse("waivers.toml", text);
        findings.extend(lint(&waivers, &catalogue, NOW()));
        findings.into_iter().map(|finding| (finding.level, finding.message)).collect()
    }

    #[test]
    fn a_sound_waiver_has_no_findings() {
        assert_eq!(found(SOUND), []);
        assert_eq!(found(""), []);
    }

    #[test]
    fn every_broken_rule_is_named() {
        for (from, to, message) in [
            ("\"SUP-01\"", "\"SUP-99\"", "`SUP-99` is no control"),
            ("\"grace\"", "\" ADA\"", "`ada` approves their own waiver"),
            ("2027-01-15", "2027-02-15", "lasts longer than 90 days, the most for a critical control"),
            ("2027-01-15", "2026-11-20", "expired on 2026-11-20"),
            ("2027-01-15", "2026-10-01", "expires before it begins"),
            ("2026-11-01", "2026-12-01", "begins only on 2026-12-01"),
            ("reason = \"the vendor ships pickles until March\"", "", "`reason` is missing"),
            ("expires = 2027-01-15", "", "`expires` is missing"),
            ("compensating_control = \"loaded in a sandbox without network\"", "", "`compensating_control` is missing"),
            ("scope = \"*\"", "scope = \" \"", "`scope` is missing"),
            ("scope", "scoop", "line 4: unknown field `scoop`"),
        ] {
            let text = SOUND.replacen(from, to, 1);
            assert!(
                found(&text).iter().any(|(level, found)| *level == WaiverLevel::Error && found.contains(message)),
                "{message}: {:?}",
                found(&text)
            );
        }
    }

    #[test]
    fn a_waiver_is_warned_about_fourteen_days_ahead() {
        let soon = SOUND.replace("2027-01-15", "2026-12-04");
        assert_eq!(found(&soon), [(WaiverLevel::Warning, "expires soon, on 2026-12-04".into())]);
        assert_eq!(found(&SOUND.replace("2027-01-15", "2026-12-06")), []);
    }

    #[test]
    fn only_sound_waivers_of_the_right_scope_cover() {
        let catalogue = fixture::catalogue(&[ControlText::new("SUP-01").severity("critical")]);
        let control = catalogue.control("SUP-01").unwrap();
        let covers = |text: &str, name: &str| covering(&parse("w", text).0, control, &[name], NOW()).is_some();
        assert!(covers(SOUND, "digits"));
        let scoped = SOUND.replace("\"*\"", "\"digits\"");
        assert!(covers(&scoped, "digits"));
        assert!(!covers(&scoped, "other"));
        assert!(!covers(&SOUND.replace("grace", "Ada"), "digits"));
        assert!(!covers(&SOUND.replace("2027-01-15", "2027-02-15"), "digits"));
    }
}
