//! Texts in which `*` stands for any text.

/// Whether a text is like a pattern, from end to end; upper and lower case are the same where `case` does not count.
#[must_use]
pub fn is_like(pattern: &str, text: &str, case: bool) -> bool {
    let (pattern, text) =
        if case { (pattern.to_owned(), text.to_owned()) } else { (pattern.to_lowercase(), text.to_lowercase()) };
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text, like) in [
            ("docker.io/library/debian:*", "docker.io/library/debian:12", true),
            ("docker.io/library/debian:*", "docker.io/library/debian", false),
            ("*", "", true),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "acb", false),
            ("aba*aba", "aba", false),
            ("", "a", false),
            ("GPL-*", "gpl-3.0", false),
            ("main", "main2", false),
            ("release/*", "release/1.2", true),
            ("release/*", "release", false),
            ("a*ba", "aba", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(is_like(pattern, text, true), like, "{pattern} {text}");
        }
        assert!(is_like("AGPL-*", "agpl-3.0-only", false));
    }

    proptest! {
        #[test]
        fn a_text_is_like_itself_and_its_parts(text in "[a-c]{0,8}", at in 0usize..9, length in 0usize..9) {
            prop_assert!(is_like(&text, &text, true));
            let at = at.min(text.len());
            let end = (at + length).min(text.len());
            let pattern = format!("{}*{}", &text[..at], &text[end..]);
            prop_assert!(is_like(&pattern, &text, true), "{}", pattern);
        }
    }
}
