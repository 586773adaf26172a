//! Migrations of a database, and whether it is safe to go back past them: pure.

use serde::{Deserialize, Serialize};

/// What was found of a database's migrations before anything was changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Migrations {
    /// By what they are applied: `prisma`, `sqlx`, `sql`, `command`.
    pub tool: String,
    /// How many are applied already.
    #[serde(default)]
    pub applied: u64,
    /// Those that will be applied, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Pending>,
    /// What is odd about those that are applied: edited since, or gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether what a tool will do is not known: it does not tell.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untold: bool,
}

/// A migration that will be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Pending {
    /// Its name.
    pub name: String,
    /// The checksum of its text, as its tool keeps it.
    pub checksum: String,
    /// Why going back past it is not safe; nothing where it only adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contracts: Option<String>,
}

impl Migrations {
    /// Why a version from before these migrations cannot be relied on to work after them; nothing where it can.
    ///
    /// A version can work with a schema that has only been added to. What is not understood counts as not added.
    #[must_use]
    pub fn bars_the_way_back(&self) -> Option<String> {
        if self.untold {
            return Some(format!("what `{}` does to the database is not known", self.tool));
        }
        let first = self.pending.iter().find_map(|one| Some((&one.name, one.contracts.as_ref()?)));
        first.map(|(name, why)| format!("migration {name} {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_migration_that_does_more_than_add_bars_the_way() {
        let pending = |name: &str, contracts: Option<&str>| Pending {
            name: name.to_owned(),
            checksum: String::new(),
            contracts: contracts.map(ToOwned::to_owned),
        };
        let mut found = Migrations { tool: "prisma".to_owned(), ..Migrations::default() };
        assert_eq!(found.bars_the_way_back(), None);
        found.pending =
            vec![pending("1", None), pending("2", Some("drops a column")), pending("3", Some("drops a table"))];
        assert_eq!(found.bars_the_way_back().as_deref(), Some("migration 2 drops a column"));
        found.untold = true;
        assert!(found.bars_the_way_back().unwrap().contains("not known"));
    }
}
