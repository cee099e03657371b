//! Arguments of `cargo xtask fuzz`.

use anyhow::{Context as _, Result, bail, ensure};

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Targets by name; empty for all.
    pub targets: Vec<String>,
    /// Seconds for each target.
    pub seconds: u64,
    /// Only list the targets.
    pub list: bool,
}

/// Reads the arguments.
///
/// # Errors
/// For an unknown option, or a time that is no positive number.
pub fn parse(arguments: &[String]) -> Result<Settings> {
    let mut settings = Settings { targets: Vec::new(), seconds: 10, list: false };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let (name, mut value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let unit = match name {
            "--list" => {
                settings.list = true;
                continue;
            }
            "--seconds" => 1,
            "--minutes" => 60,
            _ if name.starts_with('-') => bail!("`fuzz` has no option `{name}`; `cargo xtask help` lists them"),
            _ => {
                settings.targets.push(name.to_owned());
                continue;
            }
        };
        if value.is_none() {
            value = arguments.next().cloned();
        }
        let value = value.with_context(|| format!("`{name}` needs a number"))?;
        let n: u64 = value.parse().with_context(|| format!("`{name} {value}` is no number"))?;
        ensure!(n > 0, "`{name}` needs at least 1");
        settings.seconds = n.saturating_mul(unit);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Settings> {
        parse(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn targets_and_times_are_read() {
        let settings = parsed(&["zip", "--minutes", "2", "note"]).unwrap();
        assert_eq!((settings.targets, settings.seconds), (vec!["zip".into(), "note".into()], 120));
        assert_eq!(parsed(&["--seconds=4"]).unwrap().seconds, 4);
        assert!(parsed(&["--list"]).unwrap().list);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [&["--seconds"][..], &["--seconds", "x"], &["--seconds", "0"], &["--second", "1"]] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }
}
