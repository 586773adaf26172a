//! Lines of an environment file, as Docker Compose reads them (Docker docs, "Syntax for environment files").

use secrecy::{ExposeSecret as _, SecretString};

/// The lines for these variables. They hold secrets.
pub(super) fn lines(variables: &[(String, SecretString)]) -> SecretString {
    let lines = variables.iter().map(|(name, value)| format!("{name}={}\n", quoted(value.expose_secret())));
    lines.collect::<String>().into()
}

/// A value that is read as it is.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@:/.,+-".contains(c);
    if value.chars().all(plain) {
        return value.to_owned();
    }
    if !value.contains(['\'', '\n', '\r', '\\']) {
        return format!("'{value}'");
    }
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '$' => text.push_str("\\$"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_line_and_nothing_in_it_is_expanded() {
        for (value, line) in [
            ("ghcr.io/acme/api@sha256:0a", "A=ghcr.io/acme/api@sha256:0a\n"),
            ("", "A=\n"),
            ("two words", "A='two words'\n"),
            ("$HOME # no", "A='$HOME # no'\n"),
            ("it's $5", "A=\"it's \\$5\"\n"),
            ("a\nb", "A=\"a\\nb\"\n"),
        ] {
            assert_eq!(lines(&[("A".to_owned(), value.into())]).expose_secret(), line, "{value}");
        }
    }
}
