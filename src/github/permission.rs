//! What a token may do, and how to say what it lacks.

use std::fmt;

/// The keys that a job may have under `permissions:` (GitHub docs, "Workflow syntax", `permissions`). What is not among
/// them the job's own token can never do.
const OF_THE_JOB: [&str; 15] = [
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

/// A permission, as it is written in a workflow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// What it is for, e.g. `deployments`.
    pub name: String,
    /// `read` or `write`.
    pub access: String,
}

impl Permission {
    /// A permission by name.
    #[must_use]
    pub fn new(name: &str, access: &str) -> Self {
        Self { name: name.replace('_', "-"), access: access.to_owned() }
    }

    /// Whether the token that GitHub makes for a job can have it.
    #[must_use]
    pub fn is_for_jobs(&self) -> bool {
        OF_THE_JOB.contains(&self.name.as_str())
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}: {}`", self.name, self.access)
    }
}

/// What a request needs: one of several sets of permissions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs(Vec<Vec<Permission>>);

impl Needs {
    /// One permission.
    #[must_use]
    pub fn one(name: &str, access: &str) -> Self {
        Self(vec![vec![Permission::new(name, access)]])
    }

    /// Reads `x-accepted-github-permissions`: sets separated by semicolons, permissions by commas, each `name=access`
    /// (GitHub docs, "Permissions required for GitHub Apps"). `metadata`, which every token has, is left out.
    #[must_use]
    pub fn of_header(text: &str) -> Self {
        let permission = |text: &str| {
            let (name, access) = text.trim().split_once('=')?;
            let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
            (word(name) && word(access) && name != "metadata").then(|| Permission::new(name, access))
        };
        let sets = text.split(';').map(|set| set.split(',').filter_map(permission).collect::<Vec<_>>());
        Self(sets.filter(|set| !set.is_empty()).collect())
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.0.is_empty()
    }

    /// What to do so that the token may.
    #[must_use]
    pub fn advice(&self) -> String {
        if self.is_unknown() {
            return "give the token the permission under `permissions:` of the job".to_owned();
        }
        let of_jobs = self.0.iter().find(|set| set.iter().all(Permission::is_for_jobs));
        match of_jobs {
            Some(set) => format!(
                "add {} under `permissions:` of the job; in runs for forks and for Dependabot the token only reads, \
                 whatever stands there",
                list(set)
            ),
            None => format!(
                "the job's own token cannot have {self}: give `github-token` the token of a GitHub App or of a person \
                 that has"
            ),
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unknown() {
            return f.write_str("a permission");
        }
        let sets: Vec<String> = self.0.iter().map(|set| list(set)).collect();
        f.write_str(&sets.join(", or "))
    }
}

fn list(set: &[Permission]) -> String {
    set.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_becomes_what_stands_in_a_workflow() {
        let table = [
            ("deployments=write", "`deployments: write`"),
            ("metadata=read, artifact_metadata=write", "`artifact-metadata: write`"),
            (
                "pull_requests=read,contents=read; issues=write",
                "`pull-requests: read` and `contents: read`, or `issues: write`",
            ),
            ("metadata=read", "a permission"),
            ("", "a permission"),
            (";;=,", "a permission"),
        ];
        for (header, shown) in table {
            assert_eq!(Needs::of_header(header).to_string(), shown, "{header}");
        }
    }

    #[test]
    fn the_advice_knows_what_a_job_can_have() {
        assert!(Needs::of_header("deployments=write").advice().starts_with("add `deployments: write` under"));
        assert!(Needs::of_header("administration=read; contents=read").advice().starts_with("add `contents: read`"));
        assert!(Needs::one("members", "read").advice().contains("cannot have `members: read`"));
        assert!(Needs::default().advice().contains("under `permissions:`"));
    }
}
