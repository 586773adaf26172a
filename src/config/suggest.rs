//! Did you mean …?

/// What to do about a name that is not known: the one that was probably meant, or all there are.
pub(super) fn fix<'n>(name: &str, known: impl IntoIterator<Item = &'n str>, of: &str) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(name, &known) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if known.is_empty() => format!("there are no {of} here: delete it"),
        None => format!("the {of} here are {}", listed(&known)),
    }
}

/// `a`, `b` and `c`.
pub(super) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
        one => one.concat(),
    }
}

/// The known name that was probably meant: at most a few typing errors away.
pub fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', ' '], "-");
    let name = plain(name);
    let allowed = (name.chars().count() / 4).max(1);
    known
        .iter()
        .map(|candidate| (strsim::osa_distance(&name, &plain(candidate)), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near() {
        let known = ["retries", "interval", "timeout"];
        assert_eq!(fix("retreis", known, "keys"), "did you mean `retries`?");
        assert_eq!(fix("TIMEOUT", known, "keys"), "did you mean `timeout`?");
        assert_eq!(fix("severe", ["high", "never"], "words"), "the words here are `high` and `never`");
        assert_eq!(fix("probes", known, "keys"), "the keys here are `retries`, `interval` and `timeout`");
        assert_eq!(fix("x", [], "keys"), "there are no keys here: delete it");
    }
}
