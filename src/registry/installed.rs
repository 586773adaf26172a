//! Databases of installed packages, as layers hold them.

use std::collections::BTreeMap;

/// What a database of packages lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installed {
    /// These packages, with their versions.
    Listed(BTreeMap<String, String>),
    /// It is not text that is read here (rpm), or too large.
    Unread,
}

/// The most packages that are read of one database; the largest of distributions have fewer.
const MAX_PACKAGES: usize = 100_000;

/// Whether a name is a database's, and if so, whether it is text.
pub(super) fn is_database(name: &str) -> Option<bool> {
    match name {
        "lib/apk/db/installed" | "usr/lib/apk/db/installed" | "var/lib/dpkg/status" => Some(true),
        "var/lib/rpm/Packages"
        | "var/lib/rpm/Packages.db"
        | "var/lib/rpm/rpmdb.sqlite"
        | "usr/lib/sysimage/rpm/Packages.db"
        | "usr/lib/sysimage/rpm/rpmdb.sqlite" => Some(false),
        // Images without a shell keep one file for each package there.
        name => (name.starts_with("var/lib/dpkg/status.d/") && !name.ends_with(".md5sums")).then_some(true),
    }
}

/// The packages in a database that is text: stanzas of `Package:` and `Version:` (dpkg), or of `P:` and `V:` (apk).
pub(super) fn read(name: &str, text: &str) -> BTreeMap<String, String> {
    let (package, version) = if name.contains("apk") { ("P:", "V:") } else { ("Package:", "Version:") };
    let mut listed = BTreeMap::new();
    for stanza in text.split("\n\n") {
        if listed.len() >= MAX_PACKAGES {
            break;
        }
        let field = |wanted: &str| stanza.lines().find_map(|line| line.strip_prefix(wanted)).map(str::trim);
        // dpkg keeps what was removed, too.
        let removed = field("Status:").is_some_and(|status| !status.ends_with(" installed"));
        if let (Some(package), Some(version), false) = (field(package), field(version), removed) {
            listed.insert(package.to_owned(), version.to_owned());
        }
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_list_what_is_installed() {
        let dpkg = "Package: libc6\nStatus: install ok installed\nVersion: 2.36\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
        assert_eq!(read("var/lib/dpkg/status", dpkg), BTreeMap::from([("libc6".to_owned(), "2.36".to_owned())]));
        assert_eq!(read("lib/apk/db/installed", "C:x\nP:musl\nV:1\n")["musl"], "1");
        assert_eq!(is_database("var/lib/dpkg/status.d/tzdata"), Some(true));
        assert_eq!(is_database("var/lib/dpkg/status.d/tzdata.md5sums"), None);
        assert_eq!(is_database("etc/passwd"), None);
    }
}
