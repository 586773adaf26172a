//! Licences, as SPDX writes them (SPDX 2.3, annex D).

/// Whether a licence expression leaves nothing but denied licences. Where there is a choice (`MIT OR GPL-2.0-only`),
/// one that is not denied is enough. What has parentheses is not taken apart: a single denied licence in it counts.
#[must_use]
pub fn is_denied(expression: &str, denies: impl Fn(&str) -> bool) -> bool {
    // A name in plain words is no expression.
    if denies(expression.trim()) {
        return true;
    }
    let any = |text: &str| {
        let words = text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')'));
        words.filter(|word| !matches!(*word, "" | "AND" | "OR" | "WITH")).any(&denies)
    };
    if expression.contains('(') { any(expression) } else { expression.split(" OR ").all(any) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_denied_when_all_of_it_is() {
        let gpl = |name: &str| name.starts_with("GPL");
        for (expression, denied) in [
            ("GPL-2.0-only", true),
            ("MIT", false),
            ("MIT AND GPL-2.0-only", true),
            ("MIT OR GPL-2.0-only", false),
            ("GPL-3.0-only OR GPL-2.0-only", true),
            ("GPL-2.0-only WITH Classpath-exception-2.0", true),
            ("(MIT OR GPL-2.0-only) AND Zlib", true),
            ("GPL version 2", true),
            ("", false),
        ] {
            assert_eq!(is_denied(expression, gpl), denied, "{expression}");
        }
    }
}
