//! Names of files in a signed list: relative, canonical, one spelling each.
//!
//! A name that leaves the model reads what nobody meant to sign; two spellings of one name let the last one win.

use std::collections::HashMap;

/// Why `name` may not stand in a signed list; `.` is the name of a model that is a single file.
pub(super) fn refusal(name: &str) -> Option<&'static str> {
    if name == "." {
        return None;
    }
    let components = || name.split('/');
    match name {
        "" => Some("is empty"),
        _ if name.starts_with('/') => Some("is absolute"),
        _ if name.contains('\\') => Some("has a backslash, which separates components on some systems"),
        _ if name.contains('\0') => Some("has a zero byte"),
        _ if components().any(|component| component == "..") => Some("leaves the model"),
        _ if components().any(|component| component.is_empty() || component == ".") => Some("is not canonical"),
        _ => None,
    }
}

/// Names that are one name where case does not count, each with the one that came first.
pub(super) fn collisions<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(&'a str, &'a str)> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    let mut found = Vec::new();
    for name in names {
        match seen.insert(name.to_lowercase(), name) {
            Some(first) if first != name => found.push((first, name)),
            _ => {}
        }
    }
    found
}

/// Whether `path` is one of `ignored` or lies below one.
pub(super) fn is_under(path: &str, ignored: &[String]) -> bool {
    ignored
        .iter()
        .any(|above| path.strip_prefix(above.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_relative_names_stand() {
        for good in [".", "a", "a/b", "..a/b..", "é/𝄞", "a:b", ".gitignore"] {
            assert_eq!(refusal(good), None, "{good}");
        }
        for bad in ["", "/a", "a//b", "a/", "./a", "a/./b", "../a", "a/../b", "..", "a\\b", "a\0b"] {
            assert!(refusal(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn ignoring_covers_what_lies_below_and_nothing_beside() {
        let ignored = [".git".to_owned(), "a/b".into()];
        assert!(is_under(".git", &ignored) && is_under(".git/config", &ignored) && is_under("a/b/c", &ignored));
        assert!(!is_under(".gitignore", &ignored) && !is_under("a", &ignored) && !is_under("a/bc", &ignored));
    }
}
