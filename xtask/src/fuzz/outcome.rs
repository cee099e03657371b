//! What a run of libFuzzer came to, read from its log.

use std::fmt;
use std::path::Path;
use std::time::Duration;

/// The result of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Name of the target.
    pub target: String,
    /// Whether it ended without a crash, a timeout or too much memory.
    pub passed: bool,
    /// Inputs tried.
    pub executions: u64,
    /// Edges of the control flow reached.
    pub coverage: u64,
    /// Time it ran.
    pub elapsed: Duration,
    /// For a crash: what happened, where the input lies, and how to run it again.
    pub crash: String,
}

/// Lines of the log to show for a crash.
const CRASH_LINES_MAX: usize = 30;

impl Outcome {
    /// Reads the log of `target`, which ran as `binary` for `elapsed`.
    pub fn read(target: &str, passed: bool, log: &str, elapsed: Duration, binary: &Path) -> Self {
        let number_after = |marker: &str| {
            let found = log.lines().rev().find_map(|line| line.split_once(marker).map(|(_, rest)| rest.trim_start()));
            let digits: String = found.unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
            digits.parse().unwrap_or(0)
        };
        Self {
            target: target.into(),
            passed,
            executions: number_after("stat::number_of_executed_units:"),
            coverage: number_after(" cov: "),
            elapsed,
            crash: if passed { String::new() } else { crash(log, binary) },
        }
    }
}

fn crash(log: &str, binary: &Path) -> String {
    // Progress, and the sanitizer functions there are none of.
    let is_noise = |line: &&str| {
        line.starts_with("INFO:") || line.starts_with("WARNING: Failed to find") || line.contains(" cov: ")
    };
    let told: Vec<_> = log.lines().filter(|line| !is_noise(line) && !line.trim().is_empty()).collect();
    let mut text: String = told.iter().take(CRASH_LINES_MAX).map(|line| format!("    {line}\n")).collect();
    let artifact = log.lines().find_map(|line| line.split_once("Test unit written to ").map(|(_, path)| path));
    match artifact {
        Some(path) => {
            text += &format!(
                "  input: {path}\n  again: {} {path}\n  mend the parser, then keep the input as a seed",
                binary.display()
            );
        }
        None => text += "  no input was written: the target failed by itself",
    }
    text
}

impl fmt::Display for Outcome {
    /// A row of the table; a crash follows below it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let per_second = self.executions.saturating_mul(1000) / ms;
        let Self { target, executions, coverage, .. } = self;
        write!(f, "{target:<16} {executions:>12} {per_second:>8} {coverage:>9} {:>8.1}", self.elapsed.as_secs_f64())?;
        if self.passed { Ok(()) } else { write!(f, "  CRASH\n{}", self.crash) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_from_the_last_line_that_has_them() {
        let log = "INFO: Seed: 1\n#2\tINITED cov: 10 ft: 11 corp: 1/1b\n#900\tDONE   cov: 25 ft: 31 corp: 4/9b\nstat::number_of_executed_units: 900\n";
        let outcome = Outcome::read("zip", true, log, Duration::from_secs(3), Path::new("zip"));
        assert_eq!((outcome.executions, outcome.coverage, outcome.crash.as_str()), (900, 25, ""));
        assert!(outcome.to_string().contains(" 300 "), "{outcome}");
    }

    #[test]
    fn a_crash_names_its_input() {
        let log = "INFO: Seed: 1\n#2\tINITED cov: 10 ft: 11\nthread panicked at x.rs:1\nartifact_prefix='a/'; Test unit written to a/crash-1\n";
        let text = Outcome::read("zip", false, log, Duration::ZERO, Path::new("bin/zip")).to_string();
        assert!(
            text.contains("CRASH") && text.contains("panicked") && text.contains("again: bin/zip a/crash-1"),
            "{text}"
        );
    }
}
