//! The files through which a step speaks to the runner: outputs, state, environment.
//!
//! Follows actions/runner, `FileCommandManager.cs`, `EnvFileKeyValuePairs`, as it is compiled for Linux.

use std::collections::BTreeMap;

/// Reads `name=value` lines and `name<<delimiter` blocks. A name given twice has its last value.
///
/// # Errors
/// The runner's message where the file is malformed; the step fails then, and what came before counts.
pub fn read(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut values = BTreeMap::new();
    let mut rest = text;
    while let Some((line, _)) = next(&mut rest) {
        if line.is_empty() {
            continue;
        }
        // Whichever comes first decides.
        let (equals, block) = (line.find('='), line.find("<<"));
        let (name, value) = match (equals, block) {
            (Some(equals), block) if block.is_none_or(|block| equals < block) => {
                (&line[..equals], line[equals + 1..].to_owned())
            }
            (_, Some(at)) => (&line[..at], read_block(line, at, &mut rest)?),
            _ => return Err(format!("Invalid format '{line}'")),
        };
        if name.is_empty() {
            return Err("Value cannot be null. (Parameter 'name')".to_owned());
        }
        values.insert(name.to_owned(), value);
    }
    Ok(values)
}

/// The value of a block: the lines up to the one that is the delimiter, without the last line's end.
fn read_block(line: &str, at: usize, rest: &mut &str) -> Result<String, String> {
    let delimiter = &line[at + 2..];
    if at == 0 || delimiter.is_empty() {
        return Err(format!("Invalid format '{line}'. Name must not be empty and delimiter must not be empty"));
    }
    let whole = *rest;
    let mut end = 0;
    loop {
        match next(rest) {
            None => return Err(format!("Invalid value. Matching delimiter not found '{delimiter}'")),
            Some((found, _)) if found == delimiter => return Ok(whole[..end].to_owned()),
            Some((_, false)) => return Err("Invalid value. EOF marker missing new line.".to_owned()),
            // The value ends before the line feed of its last line.
            Some((_, true)) => end = whole.len() - rest.len() - 1,
        }
    }
}

/// Takes the next line off, and says whether a line feed ended it.
fn next<'a>(rest: &mut &'a str) -> Option<(&'a str, bool)> {
    if rest.is_empty() {
        return None;
    }
    let (line, after, ended) = match rest.split_once('\n') {
        Some((line, after)) => (line, after, true),
        None => (*rest, "", false),
    };
    *rest = after;
    Some((line, ended))
}

#[cfg(test)]
mod tests {
    use super::read;

    fn value(text: &str) -> Option<String> {
        read(text).expect("a well-formed file").remove("a")
    }

    #[test]
    fn both_forms() {
        assert_eq!(value("a=b=c<<d\n").as_deref(), Some("b=c<<d"));
        assert_eq!(value("\n\na=\n").as_deref(), Some(""));
        assert_eq!(value("a<<E=F\n1\n\n2\nE=F\n").as_deref(), Some("1\n\n2"));
        assert_eq!(value("a<<E\nE\nb=c").as_deref(), Some(""));
        assert_eq!(value("a<<E\n\nE").as_deref(), Some(""));
        assert_eq!(value("a=1\na=2").as_deref(), Some("2"));
        // A carriage return is part of the value, and of a delimiter.
        assert_eq!(value("a=b\r\n").as_deref(), Some("b\r"));
        // A value with a line break in the first form sets another output.
        assert_eq!(read("b=x\na=y").expect("well formed").len(), 2);
    }

    #[test]
    fn malformed_files_fail() {
        for text in ["nothing\n", "a<<\n", "<<E\nE\n", "a<<E\nx\n", "a<<E\nx", "a<<E\r\nx\r\nE\n", "=x"] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
