//! What looks like a secret: names of variables, and values in the forms that services give them.

use std::sync::LazyLock;

use regex::Regex;

#[expect(clippy::expect_used, reason = "the patterns are constants, checked by the tests below")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern")
}

static NAME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)(?:^|_)(?:password|passwd|pwd|secret|secrets|token|api_?key|private_?key|access_?key|secret_?key|credentials?|passphrase)(?:_|$)",
    )
});

static VALUE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"\bgh[oprsu]_[A-Za-z0-9]{36}|\bgithub_pat_[A-Za-z0-9_]{40,}|\bglpat-[A-Za-z0-9_-]{20}|\bA(?:KIA|SIA)[A-Z0-9]{16}\b",
        r"|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bxkeysib-[a-f0-9]{64}|\bsk_live_[A-Za-z0-9]{16,}|\bnpm_[A-Za-z0-9]{36}|\bAIza[A-Za-z0-9_-]{35}",
        r"|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.|-----BEGIN [A-Z ]*PRIVATE KEY-----",
        r"|[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s:@$]+@",
    ))
});

static ASSIGNMENT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"([A-Za-z_][A-Za-z0-9_]*)=("[^"]*"|'[^']*'|[^\s"'&;|]+)"#));

/// Whether a variable of this name is meant to hold a secret. One that names a file does not.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    NAME.is_match(name) && !upper.ends_with("_FILE") && !upper.ends_with("_PATH") && !upper.ends_with("_URL")
}

/// Whether a text has a secret in it, by the form that a service gives its own: never shown, only told.
#[must_use]
pub fn has_secret_value(text: &str) -> bool {
    VALUE.is_match(text)
}

/// The names of variables in a command line that look like secrets and are given a value there.
#[must_use]
pub fn secret_assignments(line: &str) -> Vec<String> {
    let mut names: Vec<String> = ASSIGNMENT
        .captures_iter(line)
        .filter(|found| {
            let value = found[2].trim_matches(['"', '\'']);
            // What is only passed on, and a path to a mounted secret, are none.
            is_secret_name(&found[1])
                && !value.is_empty()
                && !value.starts_with('$')
                && !value.starts_with("/run/secrets")
        })
        .map(|found| found[1].to_owned())
        .collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_that_are_secrets() {
        for name in ["DB_PASSWORD", "password", "API_KEY", "APIKEY", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "X_PWD"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["PATH", "PASSWORD_FILE", "TOKENIZERS_PARALLELISM", "KEYBOARD", "SECRETARY", "TOKEN_URL"] {
            assert!(!is_secret_name(name), "{name}");
        }
        assert!(has_secret_value(&format!("x ghp_{} y", "a".repeat(36))));
        assert!(has_secret_value("postgres://app:hunter2@db/app"));
        assert!(has_secret_value(&format!("AKIA{}", "A".repeat(16))));
        for text in ["postgres://db/app", "https://$USER:$PASS@host", "sha256:abc", "http://host:8080/@x"] {
            assert!(!has_secret_value(text), "{text}");
        }
    }

    #[test]
    fn assignments_in_history() {
        let line = "RUN |2 NPM_TOKEN=abc VERSION=1 /bin/sh -c DB_PASSWORD='x y' ./install --key=$API_KEY SECRET_KEY=";
        assert_eq!(secret_assignments(line), ["NPM_TOKEN", "DB_PASSWORD"]);
        assert_eq!(secret_assignments("TOKEN=$TOKEN PASSWORD=/run/secrets/p"), Vec::<String>::new());
    }
}
