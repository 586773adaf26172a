//! A scanner that is run here: `trivy` or `grype`, on a copy of the image in a folder.
//!
//! It is given no registry and no credentials: of our environment it sees where programs and certificates are, how to
//! reach the internet for its database, and where that is kept.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::document::LIMIT;

/// How long a scan may take.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How much of what a scanner complains about is kept.
const COMPLAINTS: u64 = 16 * 1024;

/// The variables that a scanner gets.
const VARIABLES: [&str; 14] = [
    "PATH",
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
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Trivy => {
                command.args(["image", "--format", "json", "--scanners", "vuln", "--quiet", "--input"]).arg(layout)
            }
            Kind::Grype => {
                let mut image = OsString::from("oci-dir:");
                image.push(layout);
                command.args(["--output", "json", "--quiet"]).arg(image)
            }
        };
        command.env_clear().envs(environment(scratch, &|name| std::env::var_os(name)));
        command.current_dir(scratch).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        let name = self.name();
        let failed = |error: std::io::Error| format!("{name} cannot be run: {error}");
        let mut child = command.spawn().map_err(failed)?;
        let (Some(out), Some(complaints)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(format!("{name} cannot be listened to"));
        };
        let work = async {
            let (mut report, mut said) = (Vec::new(), Vec::new());
            let mut complaints = complaints.take(COMPLAINTS);
            let mut out = out.take(LIMIT + 1);
            let read = futures_util::try_join!(out.read_to_end(&mut report), async {
                let read = complaints.read_to_end(&mut said).await?;
                // What comes after that is not kept, and must not block the scanner.
                tokio::io::copy(&mut complaints.into_inner(), &mut tokio::io::sink()).await?;
                Ok(read)
            });
            read.map_err(failed)?;
            if report.len() as u64 > LIMIT {
                return Err(format!("{name} wrote a report of more than {LIMIT} bytes"));
            }
            let status = child.wait().await.map_err(failed)?;
            // Grype ends with 2 where its own threshold is reached; there is none here.
            if status.success() {
                Ok(report)
            } else {
                Err(format!("{name} ended with {status}: {}", String::from_utf8_lossy(&said).trim()))
            }
        };
        tokio::time::timeout(PATIENCE, work)
            .await
            .unwrap_or_else(|_| Err(format!("{name} was not done after {}", humantime::format_duration(PATIENCE))))
    }
}

/// What a scanner sees of the environment.
fn environment(scratch: &Path, ours: &dyn Fn(&str) -> Option<OsString>) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> =
        VARIABLES.iter().filter_map(|name| Some((OsString::from(name), ours(name)?))).collect();
    let cache = ours("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(PathBuf::from(ours("HOME")?).join(".cache")));
    for (name, folder) in CACHES {
        let kept = ours(name).or_else(|| Some(cache.as_ref()?.join(folder).into_os_string()));
        variables.extend(kept.map(|folder| (OsString::from(name), folder)));
    }
    for name in ["HOME", "TMPDIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"] {
        variables.push((OsString::from(name), scratch.as_os_str().to_owned()));
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
        let ours = |name: &str| Some(OsString::from(format!("value of {name}")));
        let given = environment(Path::new("/scratch"), &ours);
        for (name, value) in given {
            let name = name.to_string_lossy().into_owned();
            assert!(!["TOKEN", "SECRET", "PASSWORD", "KEY", "AWS", "GITHUB"].iter().any(|word| name.contains(word)));
            if ["HOME", "DOCKER_CONFIG"].contains(&name.as_str()) {
                assert_eq!(value, "/scratch");
            }
        }
    }
}
