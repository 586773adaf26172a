//! What is in the image, and what is not.

use std::collections::BTreeSet;

use super::{Case, Image};

pub(crate) const CASES: &[Case] = &[
    ("it_holds_what_is_needed_and_nothing_else", files),
    ("it_is_small_and_runs_as_root", metadata),
    ("its_programs_start", programs),
];

/// Everything but what the engine itself puts into a container, the libraries of `ssh`, and the licenses of these.
const FILES: [&str; 26] = [
    "bin/",
    "bin/busybox",
    "bin/chmod",
    "bin/env",
    "bin/find",
    "bin/mv",
    "bin/rm",
    "bin/sh",
    "bin/ssh",
    "bin/ssh-keygen",
    "bin/ssh-keyscan",
    "bin/stat",
    "bin/tail",
    "bin/tar",
    "etc/passwd",
    "etc/ssl/",
    "etc/ssl/certs/",
    "etc/ssl/certs/ca-certificates.crt",
    "licenses/",
    "licenses/busybox",
    "licenses/ca-certificates",
    "licenses/libssl3",
    "licenses/openssh-client",
    "licenses/tidegate",
    "tidegate",
    "tidegate-finalise",
];

/// The largest that the image may be, uncompressed; a dependency that makes it larger should be noticed. A third is `ssh`.
const SIZE_MAX: u64 = 48 << 20;

fn files(image: &Image) {
    let container = image.docker(&["create", &image.name]);
    let directory = tempfile::tempdir().expect("a directory for the image's contents");
    let path = directory.path().join("contents.tar");
    image.docker(&["export", "--output", path.to_str().expect("a temporary directory's path is text"), &container]);
    image.docker(&["rm", &container]);
    let mut archive = tar::Archive::new(std::fs::File::open(path).expect("the image's contents"));
    let entries = archive.entries().expect("an archive");
    let found: BTreeSet<String> = entries
        .map(|entry| String::from_utf8_lossy(&entry.expect("an entry of the archive").path_bytes()).into_owned())
        .filter(|path| !is_the_engines(path) && !is_of_a_library(path))
        .collect();
    let wanted: BTreeSet<String> = FILES.into_iter().map(str::to_owned).collect();
    assert_eq!(found, wanted);
}

fn is_the_engines(path: &str) -> bool {
    let own = ["dev/", "proc/", "sys/", ".dockerenv", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"];
    matches!(path, "etc/" | "tmp/") || own.iter().any(|own| path.starts_with(own))
}

/// What `ssh` is linked with differs between architectures and releases of Debian; [`programs`] sees whether it is all there.
fn is_of_a_library(path: &str) -> bool {
    let library = path.starts_with("lib/") || path.starts_with("lib64/");
    library || (path.starts_with("licenses/lib") || path == "licenses/zlib1g") && path != "licenses/libssl3"
}

fn programs(image: &Image) {
    let run = |program: &str, arguments: &[&str]| {
        let call = ["run", "--rm", "--network", "none", "--entrypoint", program, &image.name];
        image.docker(&[&call, arguments].concat())
    };
    run("/bin/ssh", &["-V"]);
    run("/bin/ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "/tmp/key"]);
    assert!(run("/bin/busybox", &["--help"]).contains("tail"));
}

fn metadata(image: &Image) {
    let inspect = |format: &str| image.docker(&["image", "inspect", "--format", format, &image.name]);
    let size: u64 = inspect("{{.Size}}").parse().expect("a number of bytes");
    assert!(size < SIZE_MAX, "{size} bytes");
    assert_eq!(inspect("{{.Config.User}}"), "");
    assert_eq!(inspect("{{.Config.Entrypoint}}"), "[/tidegate]");
    assert_eq!(inspect("{{index .Config.Labels \"org.opencontainers.image.licenses\"}}"), "Apache-2.0");
}
