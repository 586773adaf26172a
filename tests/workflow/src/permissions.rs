//! What a job's token may do.

use std::collections::BTreeMap;

use crate::model::Permissions;

/// The keys that GitHub knows.
const KEYS: [&str; 15] = [
    "actions",
    "artifact-metadata",
    "attestations",
    "checks",
    "contents",
    "deployments",
    "discussions",
    "id-token",
    "issues",
    "models",
    "packages",
    "pages",
    "pull-requests",
    "security-events",
    "statuses",
];

/// Each key with `read` or `write`; one that is not there has none.
pub(crate) type Granted = BTreeMap<String, String>;

/// What is granted.
///
/// # Errors
/// A key or a word that GitHub does not know.
pub(crate) fn granted(permissions: &Permissions) -> Result<Granted, String> {
    match permissions {
        Permissions::All(word) => {
            let access = match word.as_str() {
                "read-all" => "read",
                "write-all" => "write",
                _ => return Err(format!("permissions: `{word}` is not known")),
            };
            Ok(KEYS.iter().map(|key| ((*key).to_owned(), access.to_owned())).collect())
        }
        Permissions::Each(each) => {
            for (key, access) in each {
                if !KEYS.contains(&key.as_str()) || !["read", "write", "none"].contains(&access.as_str()) {
                    return Err(format!("permissions: `{key}: {access}` is not known"));
                }
            }
            let some = each.iter().filter(|(_, access)| *access != "none");
            Ok(some.map(|(key, access)| (key.clone(), access.clone())).collect())
        }
    }
}

/// Whether a called workflow asks for no more than its caller has.
///
/// # Errors
/// What it asks for in vain; GitHub does not start such a run.
pub(crate) fn within(asked: &Granted, allowed: &Granted) -> Result<(), String> {
    for (key, access) in asked {
        let has = allowed.get(key).map_or("none", String::as_str);
        if has != "write" && has != access {
            return Err(format!("asks for `{key}: {access}`, but is only allowed `{key}: {has}`"));
        }
    }
    Ok(())
}
