//! How a run ends: exit codes, and failures that carry one.

use std::fmt;
use std::panic::Location;
use std::sync::Mutex;

/// Exit codes of the command contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All required checks passed.
    Passed,
    /// Policy failed: findings at or above the bar, or a gate said no.
    PolicyFailed,
    /// Usage or configuration error.
    Usage,
    /// Could not evaluate: unreadable, unscannable, or something required is unknown.
    NotEvaluated,
    /// Signature, digest, ledger or seal does not verify.
    Integrity,
    /// What the command that was run said.
    Handed(u8),
}

impl Exit {
    /// The process exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::PolicyFailed => 1,
            Self::Usage => 2,
            Self::NotEvaluated => 3,
            Self::Integrity => 4,
            Self::Handed(code) => code,
        }
    }

    /// The one of two that applies, in the order 2, 4, 1, 3, 0.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank = |exit| match exit {
            Self::Passed => 0,
            Self::NotEvaluated => 1,
            Self::PolicyFailed => 2,
            Self::Handed(_) => 3,
            Self::Integrity => 4,
            Self::Usage => 5,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Failure {
    /// The exit code it leads to.
    pub exit: Exit,
    /// What happened, to which file, and what to do next.
    pub message: String,
}

impl Failure {
    /// A mistake in arguments or configuration.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    /// Something that could not be read, written or judged.
    pub fn not_evaluated(message: impl fmt::Display) -> Self {
        Self { exit: Exit::NotEvaluated, message: message.to_string() }
    }

    /// Something that does not verify.
    pub fn integrity(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Integrity, message: message.to_string() }
    }
}

/// Where the last fault of ours happened.
static FAULT: Mutex<String> = Mutex::new(String::new());

/// Keeps the place of a fault, for whoever reports it.
pub fn note_fault(location: Option<&Location<'_>>) {
    if let (Some(location), Ok(mut fault)) = (location, FAULT.lock()) {
        *fault = format!("{}:{}", location.file(), location.line());
    }
}

/// The place of the last fault.
pub fn last_fault() -> String {
    FAULT.lock().map(|fault| fault.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_severe_exit_applies_in_the_order_of_the_contract() {
        let order = [Exit::Usage, Exit::Integrity, Exit::PolicyFailed, Exit::NotEvaluated, Exit::Passed];
        for (i, worse) in order.iter().enumerate() {
            for other in order.iter().skip(i) {
                assert_eq!(worse.worse(*other), *worse);
                assert_eq!(other.worse(*worse), *worse);
            }
        }
    }
}
