//! A scanner that is run here: `trivy` or `grype`, on a copy of the image in a folder.
//!
//! It is given no registry and no credentials: of our environment it sees where programs and certificates are, how to
//! reach the internet for its database, and where that is kept.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::LIMIT;
use crate::process::Program;

/// How long a scan may take.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The variables that a scanner gets.
const VARIABLES: [&str; 13] = [
    "LANG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "TRIVY_DB_REPOSITORY",
    "TRIVY_SKIP_DB_UPDATE",
    "GRYPE_DB_UPDATE_URL",
    "GRYPE_DB_AUTO_UPDATE",
];

/// Where scanners keep their databases: the variable, and the folder below the user's cache.
const CACHES: [(&str, &str); 2] = [("TRIVY_CACHE_DIR", "trivy"), ("GRYPE_DB_CACHE_DIR", "grype/db")];

/// A scanner on the PATH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanner {
    program: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Trivy,
    Grype,
}

impl Scanner {
    /// The first of `trivy` and `grype` that is on the PATH.
    #[must_use]
    pub fn on_path() -> Option<Self> {
        Self::among(&std::env::var_os("PATH")?)
    }

    fn among(path: &OsString) -> Option<Self> {
        [("trivy", Kind::Trivy), ("grype", Kind::Grype)].into_iter().find_map(|(name, kind)| {
            // A folder that is not absolute is the workspace's, which anybody may have filled.
            let mut folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
            let program = folders.find_map(|folder| Some(folder.join(name)).filter(|program| is_program(program)))?;
            Some(Self { program, kind })
        })
    }

    /// The scanner's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.kind {
            Kind::Trivy => "trivy",
            Kind::Grype => "grype",
        }
    }

    /// Scans an image layout and gives the report, JSON, of at most [`LIMIT`] bytes. `scratch` is where it may write.
    ///
    /// # Errors
    /// Why there is no report.
    pub async fn scan(&self, layout: &Path, scratch: &Path) -> Result<Vec<u8>, String> {
        let program = Program::new(self.program.as_os_str());
        let program = match self.kind {
            Kind::Trivy => program
                .arguments(["image", "--format", "json", "--scanners", "vuln", "--quiet", "--input"])
                .argument(layout),
            Kind::Grype => {
                let mut image = OsString::from("oci-dir:");
                image.push(layout);
                program.arguments(["--output", "json", "--quiet"]).argument(image)
            }
        };
        let variables = environment(scratch, &|name| std::env::var(name).ok());
        let program = variables
            .into_iter()
            .fold(program, |program, (name, value)| program.variable(name, value.into()))
            .directory(scratch)
            .timeout(PATIENCE)
            .output_limit(usize::try_from(LIMIT).unwrap_or(usize::MAX));
        let name = self.name();
        let ended = program.run().await.map_err(|error| error.to_string())?;
        if !ended.is_good() {
            return Err(format!("{name} {}", ended.told()));
        }
        if ended.stdout.is_cut() {
            return Err(format!("{name} wrote a report of more than {LIMIT} bytes"));
        }
        Ok(ended.stdout.text().into_bytes())
    }
}

/// What a scanner sees of the environment, besides the PATH.
fn environment(scratch: &Path, ours: &dyn Fn(&str) -> Option<String>) -> Vec<(&'static str, String)> {
    let mut variables: Vec<(&str, String)> = VARIABLES.iter().filter_map(|name| Some((*name, ours(name)?))).collect();
    let cache = ours("XDG_CACHE_HOME").or_else(|| Some(format!("{}/.cache", ours("HOME")?)));
    for (name, folder) in CACHES {
        let kept = ours(name).or_else(|| Some(format!("{}/{folder}", cache.as_ref()?)));
        variables.extend(kept.map(|folder| (name, folder)));
    }
    for name in ["HOME", "TMPDIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"] {
        variables.push((name, scratch.display().to_string()));
    }
    variables
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(folder: &Path, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn a_scanner_sees_nothing_of_ours_and_is_believed_only_when_it_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let path: OsString = folder.path().as_os_str().to_owned();
        assert_eq!(Scanner::among(&path), None);
        script(folder.path(), "grype", "echo \"$2 $4\"; env");
        let scanner = Scanner::among(&path).unwrap();
        assert_eq!(scanner.name(), "grype");
        let said = String::from_utf8(scanner.scan(Path::new("/layout"), folder.path()).await.unwrap()).unwrap();
        assert!(said.starts_with("json oci-dir:/layout"), "{said}");
        assert!(said.contains(&format!("HOME={}", folder.path().display())), "{said}");
        assert!(!said.contains("CARGO"), "{said}");
        script(folder.path(), "trivy", "echo '{}'; echo no database >&2; exit 1");
        let scanner = Scanner::among(&path).unwrap();
        assert_eq!(scanner.name(), "trivy", "the first of the two");
        assert!(scanner.scan(Path::new("/layout"), folder.path()).await.unwrap_err().contains("no database"));
        assert_eq!(Scanner::among(&"relative".into()), None);
    }

    #[test]
    fn no_secret_is_handed_on() {
        let ours = |name: &str| Some(format!("value of {name}"));
        let given = environment(Path::new("/scratch"), &ours);
        for (name, value) in given {
            assert!(!["TOKEN", "SECRET", "PASSWORD", "KEY", "AWS", "GITHUB"].iter().any(|word| name.contains(word)));
            if ["HOME", "DOCKER_CONFIG"].contains(&name) {
                assert_eq!(value, "/scratch");
            }
        }
    }
}
