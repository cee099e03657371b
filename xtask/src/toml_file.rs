//! TOML files with the line of what is wrong in them.

use toml::{Table, Value};

use crate::tree::File;

/// The table in `file`, or the line and the reason why it is none.
pub fn parse(file: &File) -> Result<Table, (usize, String)> {
    file.text.parse::<Table>().map_err(|error| {
        let before = error.span().and_then(|span| file.text.get(..span.start)).unwrap_or_default();
        (before.matches('\n').count() + 1, error.message().to_owned())
    })
}

/// The text under `key`, empty where there is none.
pub fn text<'a>(table: &'a Table, key: &str) -> &'a str {
    table.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The texts of the array under `key`.
pub fn texts<'a>(table: &'a Table, key: &str) -> Vec<&'a str> {
    let array = table.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    array.iter().filter_map(Value::as_str).collect()
}

/// The tables of the array under `key`.
pub fn tables<'a>(table: &'a Table, key: &str) -> Vec<&'a Table> {
    let array = table.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    array.iter().filter_map(Value::as_table).collect()
}

/// The table under `key`.
pub fn table<'a>(table: &'a Table, key: &str) -> Option<&'a Table> {
    table.get(key).and_then(Value::as_table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_line() {
        assert_eq!(parse(&File::new("a.toml", "a = 1\nb = \nc = 3\n")).unwrap_err().0, 2);
        let table = parse(&File::new("a.toml", "a = \"x\"\nb = [\"y\", \"z\"]\n")).unwrap();
        assert_eq!((text(&table, "a"), texts(&table, "b"), text(&table, "c")), ("x", vec!["y", "z"], ""));
    }
}
