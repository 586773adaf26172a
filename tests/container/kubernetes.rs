//! As the runner's container hooks for Kubernetes do it.
//!
//! Follows actions/runner-container-hooks, `run-container-step.ts` and `k8s/utils.ts`: the pod's command is `tail`, the
//! runner's directories are brought in and verified by `tar`, `find` and `stat`, and the step is a script.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use testbed::image::Image as TestImage;
use testbed::registry::Registry;
use testbed::runner::files;

use super::{Case, Image};

pub(crate) const CASES: &[Case] = &[("a_step_runs_in_a_pod", step_in_a_pod)];

/// A container that is removed when this is dropped.
struct Pod<'a> {
    image: &'a Image,
    name: String,
}

impl<'a> Pod<'a> {
    /// Starts it with the volumes that every pod of a step has, and without Docker's socket.
    fn start(image: &'a Image) -> Self {
        let volumes = ["--volume", "/__e", "--volume", "/__w", "--volume", "/github"];
        let run = ["run", "--detach", "--network", "host", "--workdir", "/__w", "--entrypoint", "tail"];
        let name = image.docker(&[&run[..], &volumes, &[&image.name, "-f", "/dev/null"]].concat());
        Self { image, name }
    }

    fn exec(&self, words: &[&str]) -> std::process::Output {
        self.image.engine.output(&[&["exec", &self.name], words].concat())
    }

    /// Unpacks an archive in the pod.
    fn bring(&self, archive: &[u8], to: &str) {
        let script = format!(
            "tar xf - --no-same-owner -C {to} 2>/dev/null; \
             find {to} -type f -exec chmod u+rw {{}} \\; 2>/dev/null; \
             find {to} -type d -exec chmod u+rwx {{}} \\; 2>/dev/null"
        );
        let mut command = Command::new(self.image.engine.client());
        command.args(["exec", "--interactive", &self.name, "sh", "-c", &script]).stdin(Stdio::piped());
        let mut child = command.spawn().expect("the Docker client can be started");
        child.stdin.take().expect("standard input is piped").write_all(archive).expect("the archive is handed over");
        assert!(child.wait().expect("the client ends").success());
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        let _ = self.image.engine.run(&["rm", "--force", "--volumes", &self.name]);
    }
}

fn step_in_a_pod(image: &Image) {
    let registry = Registry::start();
    let release = TestImage::index(&["linux/amd64", "linux/arm64"]).build();
    release.place(registry.contents(), "acme/api", &["staging"]);
    let pod = Pod::start(image);
    let script = script(&[
        ("CI", "true"),
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_OUTPUT", "/github/file_commands/output"),
        ("GITHUB_REPOSITORY", "acme/api"),
        ("GITHUB_RUN_ID", "16000000001"),
        ("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567"),
        ("GITHUB_WORKSPACE", "/github/workspace"),
        ("HOME", "/github/home"),
        ("INPUT_IMAGE", &format!("{}/acme/api:staging", registry.host())),
        ("INPUT_TO", &format!("{}/acme-prod/api:production", registry.host())),
        ("INPUT_REGISTRY-USERNAME", "ann"),
        ("INPUT_REASON", "a \"quoted\" $reason with `ticks` and a \\"),
    ]);
    let files = [
        ("_temp/_github_home/.keep", ""),
        ("_temp/_github_workflow/event.json", "{}"),
        ("_temp/_runner_file_commands/output", ""),
        ("_temp/step.sh", &script),
        ("api/api/README.md", "the checkout"),
    ];
    pod.bring(&archive(&files), "/__w");
    let list = "cd /__w && find . -type f -not -path '*/_runner_hook_responses*' -exec stat -c '%s %n' {} \\;";
    let listed = String::from_utf8_lossy(&pod.exec(&["sh", "-c", list]).stdout).into_owned();
    let mut lines: Vec<&str> = listed.lines().collect();
    lines.sort_unstable();
    let mut wanted: Vec<String> = files.iter().map(|(path, text)| format!("{} ./{path}", text.len())).collect();
    wanted.sort_unstable();
    assert_eq!(lines, wanted);

    let ended = pod.exec(&["sh", "-e", "/__w/_temp/step.sh"]);
    let printed = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{printed}");
    assert_eq!(registry.contents().digest("acme-prod/api", "production").as_deref(), Some(release.digest()));
    let written = pod.exec(&["tail", "-n", "+1", "/github/file_commands/output"]);
    let outputs = files::read(&String::from_utf8_lossy(&written.stdout)).expect("well-formed outputs");
    assert_eq!(outputs["status"], "SUCCESS", "{printed}");
    let record = pod.exec(&[
        "tail",
        "-n",
        "+1",
        &Path::new("/github/workspace").join(&outputs["record-path"]).display().to_string(),
    ]);
    assert!(String::from_utf8_lossy(&record.stdout).contains("a \\\"quoted\\\" $reason with `ticks` and a \\\\"));
}

/// The script of a step, as the hooks write it.
fn script(variables: &[(&str, &str)]) -> String {
    let escaped =
        |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`");
    let variables: Vec<String> =
        variables.iter().map(|(name, value)| format!("\"{name}={}\"", escaped(value))).collect();
    format!(
        "#!/bin/sh -l\n\
         rm \"$0\" # remove script after running\n\
         mv /__w/_temp/_github_home /github/home && \
         mv /__w/_temp/_github_workflow /github/workflow && \
         mv /__w/_temp/_runner_file_commands /github/file_commands || true && \
         mv /__w/api/api/ /github/workspace && \
         cd /github/workspace && \
         exec env {}  /tidegate \n",
        variables.join(" ")
    )
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        header.set_size(text.len() as u64);
        archive.append_data(&mut header, path, text.as_bytes()).expect("memory can be written");
    }
    archive.into_inner().expect("memory can be written")
}
