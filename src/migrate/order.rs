//! The order in which Prisma applies migrations: that of JavaScript's `localeCompare`, which is not that of bytes.

use std::cmp::Ordering;

/// Compares two names as `localeCompare` does by the root collation of Unicode (CLDR), for what names of migrations are
/// made of: punctuation before digits before letters, letters without regard to case, and only where all else is the same
/// the small ones first. What is not ASCII comes last, by its code.
pub(super) fn compare(one: &str, other: &str) -> Ordering {
    let primary = |text: &str| text.chars().map(weight).collect::<Vec<_>>();
    let tertiary = |text: &str| text.chars().map(|c| c.is_ascii_uppercase()).collect::<Vec<_>>();
    primary(one).cmp(&primary(other)).then_with(|| tertiary(one).cmp(&tertiary(other))).then_with(|| one.cmp(other))
}

/// Where a character stands without regard to its case (CLDR root collation, allkeys).
fn weight(c: char) -> u32 {
    const PUNCTUATION: &str = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$";
    match c {
        '0'..='9' => 100 + u32::from(c) - u32::from('0'),
        'a'..='z' | 'A'..='Z' => 200 + u32::from(c.to_ascii_lowercase()) - u32::from('a'),
        other => match PUNCTUATION.chars().position(|one| one == other) {
            Some(place) => u32::try_from(place).unwrap_or_default(),
            None => 1_000 + u32::from(other),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_node() {
        // As Node.js 20 sorts them with `localeCompare`.
        let sorted = [
            "20240101000000_a_b",
            "20240101000000_ab",
            "20240101000000_b",
            "20240101000000_B",
            "20240102_a",
            "a-b",
            "a1",
            "ab",
        ];
        let mut names = sorted;
        names.reverse();
        names.sort_by(|one, other| compare(one, other));
        assert_eq!(names, sorted);
    }
}
