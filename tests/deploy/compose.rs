//! The driver `compose`: OpenSSH's server before hosts with a `docker` that remembers.

use base64::Engine as _;
use testbed::docker_host::{DockerHosts, HOSTS};
use testbed::runner::Runner;

use crate::scene::{Scene, release, small};

const CONFIGURATION: &str = r#"version: 1
services:
  api: { image: "{here}/acme/api" }
environments:
  staging: { tag: staging }
  production:
    from: staging
    tag: production
    deploy:
      compose:
        hosts: [{hosts}]
        user: {user}
        port: {port}
        key: "${SSH_KEY}"
        host-keys: ["{fingerprint}"]
        directory: "{apps}"
        project: shop
        timeout: 20s
        {more}
retry: { attempts: 3, initial: 5ms, max: 10ms }
"#;

const COMPOSE_FILE: &str =
    "services:\n  api:\n    image: ${API_IMAGE}\n    restart: always\n  db:\n    image: postgres:16\n";

struct Place {
    hosts: DockerHosts,
    scene: Scene,
}

impl Place {
    /// Hosts that share one directory; `more` are further keys.
    fn new(hosts: &[&str], more: &str) -> Self {
        let docker = DockerHosts::start();
        for host in HOSTS {
            docker.write(host, "compose.yaml", COMPOSE_FILE);
            docker.write(host, ".env", "# ours\nLEVEL=info\nAPI_IMAGE=old/api:1\n");
        }
        let scene = Scene::new().configured(&Self::configuration(&docker, hosts, more));
        scene.place(&small(9), "acme/api", &["production"]);
        scene.place(&release(1), "acme/api", &["staging"]);
        Self { hosts: docker, scene }
    }

    fn configuration(docker: &DockerHosts, hosts: &[&str], more: &str) -> String {
        CONFIGURATION
            .replace("{hosts}", &hosts.iter().map(|host| format!("\"{host}\"")).collect::<Vec<_>>().join(", "))
            .replace("{user}", docker.sshd().user())
            .replace("{port}", &docker.sshd().port().to_string())
            .replace("{fingerprint}", &docker.sshd().fingerprint())
            .replace("{apps}", &docker.app(hosts[0]).display().to_string())
            .replace("{more}", more)
    }

    fn step(&self, run: &str) -> Runner {
        let key = base64::engine::general_purpose::STANDARD.encode(self.hosts.sshd().key());
        self.scene.production().env("SSH_KEY", &key).env("GITHUB_RUN_ID", run)
    }

    fn runs(&self, host: &str) -> Option<String> {
        self.hosts.runs(host, "shop-api-1")
    }

    fn image(&self, digest: &str) -> String {
        format!("{}/acme/api@{digest}", self.scene.here.host())
    }
}

const BY_VARIABLE: &str =
    "env-file: .env\n        image-variable: API_IMAGE\n        env: { LEVEL: debug, SECRET: \"${APP_SECRET}\" }";

#[test]
fn the_image_is_written_by_digest_pulled_started_and_seen() {
    let place = Place::new(&[HOSTS[0]], BY_VARIABLE);
    let visit = place.scene.visit(&place.step("1").env("APP_SECRET", "hunter2 $HOME"));
    visit.succeeded();
    assert_eq!(place.runs(HOSTS[0]), Some(place.image(release(1).digest())));
    let env = place.hosts.read(HOSTS[0], ".env").unwrap();
    let wanted =
        format!("# ours\nLEVEL=debug\nAPI_IMAGE={}\nSECRET='hunter2 $HOME'\n", place.image(release(1).digest()));
    assert_eq!(env, wanted);
    let run = place.scene.run();
    let deployed = run.candidates[0].deployed.clone().unwrap();
    assert_eq!(deployed.running[0].at, HOSTS[0]);
    assert_eq!(deployed.running[0].digest.as_ref().unwrap().as_str(), release(1).digest());
    let log = place.scene.folder().join(run.id.as_str()).join(format!("deployment-{}.log", run.id));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("api Pulled") && log.contains("Healthy") && !log.contains("hunter2"), "{log}");
    // The backup has what was there before.
    let backup = format!(".tidegate/backups/api/{}/.env", run.id);
    assert_eq!(place.hosts.read(HOSTS[0], &backup).unwrap(), "# ours\nLEVEL=info\nAPI_IMAGE=old/api:1\n");
    place.scene.assert_sound();
}

#[test]
fn a_sick_release_is_taken_back_from_the_backup() {
    let place = Place::new(&[HOSTS[0]], BY_VARIABLE);
    let secret = |run: &str| place.step(run).env("APP_SECRET", "x-secret");
    place.scene.visit(&secret("1")).succeeded();
    let before = place.hosts.read(HOSTS[0], ".env").unwrap();
    place.scene.place(&release(2), "acme/api", &["staging"]);
    place.hosts.set(HOSTS[0], "sick", release(2).digest());
    let visit = place.scene.visit(&secret("2"));
    visit.was_stopped(4, "deployment-failed", &["is unhealthy"]);
    assert_eq!(visit.output("state"), "rolled-back");
    assert_eq!((visit.output("rolled-back"), visit.output("rollback-digest")), ("true", release(1).digest()));
    assert_eq!(place.runs(HOSTS[0]), Some(place.image(release(1).digest())));
    assert_eq!(place.hosts.read(HOSTS[0], ".env").unwrap(), before);
    assert_eq!(place.scene.tag("acme/api", "production").as_deref(), Some(release(1).digest()));
    let run = place.scene.runs().remove(1);
    let log = place.scene.folder().join(run.id.as_str()).join(format!("rollback-{}.log", run.id));
    assert!(std::fs::read_to_string(log).unwrap().contains("restoring the backup"));
    place.scene.assert_sound();
}

#[test]
fn without_a_variable_the_image_is_pinned_beside_the_file() {
    let place = Place::new(&[HOSTS[0]], "registry-login: { user: \"${PULL_USER}\", password: \"${PULL_TOKEN}\" }");
    place.hosts.set(HOSTS[0], "private", &format!("{} puller pull-token-1", place.scene.here.host()));
    let login = |run: &str, token: &str| place.step(run).env("PULL_USER", "puller").env("PULL_TOKEN", token);
    let visit = place.scene.visit(&login("1", "wrong-token-1"));
    assert_eq!(visit.output("reason-code"), "driver-refused", "{visit:?}");
    place.scene.visit(&login("2", "pull-token-1")).succeeded();
    let pinned = place.hosts.read(HOSTS[0], "api.tidegate.yaml").unwrap();
    assert!(pinned.contains(&place.image(release(1).digest())), "{pinned}");
    assert_eq!(place.runs(HOSTS[0]), Some(place.image(release(1).digest())));
    // Nothing of the login stays on the host.
    let left = std::fs::read_dir(place.hosts.app(HOSTS[0]).join(".tidegate")).unwrap();
    assert!(left.flatten().all(|entry| !entry.file_name().to_string_lossy().starts_with("login.")));
}

#[test]
fn trouble_before_the_first_change_changes_nothing() {
    type Break = fn(&Place);
    let cases: [(Break, &str, &str); 5] =
        [
            (|place| place.hosts.set(HOSTS[0], "down", ""), "driver-absent", "Is the docker daemon running?"),
            (|place| place.hosts.set(HOSTS[0], "platform", "linux/s390x"), "wrong-architecture", "runs linux/s390x"),
            (
                |place| std::fs::remove_file(place.hosts.app(HOSTS[0]).join("compose.yaml")).unwrap(),
                "driver-absent",
                "compose.yaml is not in",
            ),
            (
                |place| place.scene.configure(&Place::configuration(&place.hosts, &[HOSTS[0]], "free-disk: 900TiB")),
                "disk-full",
                "must be",
            ),
            (
                |place| {
                    let text = Place::configuration(&place.hosts, &[HOSTS[0]], "");
                    place.scene.configure(&text.replace(
                        &place.hosts.sshd().fingerprint(),
                        "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                    ));
                },
                "host-key-unknown",
                "shows a key",
            ),
        ];
    for (broken, reason, text) in cases {
        let place = Place::new(&[HOSTS[0]], "");
        broken(&place);
        let visit = place.scene.visit(&place.step("1"));
        visit.was_stopped(4, reason, &[text]);
        assert_eq!(place.runs(HOSTS[0]), None);
        assert_eq!(place.hosts.read(HOSTS[0], "api.tidegate.yaml"), None);
    }
}

#[test]
fn a_full_disk_and_a_failed_pull_are_told() {
    let place = Place::new(&[HOSTS[0]], "");
    place.hosts.set(HOSTS[0], "full", "");
    let visit = place.scene.visit(&place.step("1"));
    assert!(visit.annotations("error").iter().any(|text| text.contains("no space left on device")), "{visit:?}");
    assert_eq!(visit.output("reason-code"), "disk-full");
    assert_eq!(place.hosts.read(HOSTS[0], "api.tidegate.yaml"), None);
}

#[test]
fn a_bad_host_stops_the_rest_and_all_are_put_back() {
    let place = Place::new(&HOSTS, BY_VARIABLE);
    let step = |run: &str| place.step(run).env("APP_SECRET", "x-secret");
    place.scene.visit(&step("1")).succeeded();
    place.scene.place(&release(2), "acme/api", &["staging"]);
    place.hosts.set(HOSTS[1], "sick", release(2).digest());
    place.scene.visit(&step("2")).was_stopped(4, "deployment-failed", &[HOSTS[1], "is unhealthy"]);
    for host in HOSTS {
        assert_eq!(place.runs(host), Some(place.image(release(1).digest())), "{host}");
    }
    let started = |host: &str| place.hosts.calls(host).iter().filter(|call| call.contains("up -d")).count();
    // The third was never given the new release: what it is started with again is what it ran.
    assert_eq!((started(HOSTS[0]), started(HOSTS[1])), (3, 3));
    let pulled = place.hosts.calls(HOSTS[2]).iter().filter(|call| call.contains("pull api")).count();
    assert_eq!(pulled, 1);
}

#[test]
fn commands_of_the_host_do_it_without_compose() {
    let commands = "commands: { deploy: [sh, ./deploy, \"{{ digest }}\"], running: [cat, running] }";
    let text = |docker: &DockerHosts| {
        Place::configuration(docker, &[HOSTS[0]], commands).replace("        project: shop\n", "")
    };
    let docker = DockerHosts::start();
    docker.write(HOSTS[0], "deploy", "echo \"$1\" >running\necho put in place\n");
    docker.write(HOSTS[0], "running", "");
    let scene = Scene::new().configured(&text(&docker));
    scene.place(&small(1), "acme/api", &["staging"]);
    let place = Place { hosts: docker, scene };
    place.scene.visit(&place.step("1")).succeeded();
    assert_eq!(place.hosts.read(HOSTS[0], "running").unwrap().trim(), small(1).digest());
}

#[test]
fn a_later_run_has_taken_the_host() {
    let place = Place::new(&[HOSTS[0]], "");
    place.scene.visit(&place.step("1")).succeeded();
    place.hosts.write(HOSTS[0], ".tidegate/fence-production", "999\n");
    place.scene.place(&release(2), "acme/api", &["staging"]);
    let visit = place.scene.visit(&place.step("2"));
    visit.was_stopped(5, "lease-lost", &["its token is 999"]);
    assert_eq!(place.runs(HOSTS[0]), Some(place.image(release(1).digest())));
}

#[test]
fn a_runner_that_is_killed_anywhere_leaves_nothing_that_the_next_does_not_finish() {
    // Each place at which the program can be killed while it deploys, a few of them spread over the way.
    let like = Place::new(&[HOSTS[0]], "");
    let log = like.scene.step().workspace().join("crash.log");
    like.scene.visit(&like.step("1").env("TIDEGATE_CRASH_LOG", log.to_str().unwrap())).succeeded();
    let text = std::fs::read_to_string(log).unwrap();
    let points: Vec<usize> =
        text.lines().enumerate().filter(|(_, line)| line.contains("process")).map(|(place, _)| place + 1).collect();
    assert!(points.len() > 8, "{text}");
    for point in points.iter().step_by(3) {
        let place = Place::new(&[HOSTS[0]], "");
        let killed = place.scene.finish(place.step("1").env("TIDEGATE_CRASH_AT", &point.to_string()).start());
        assert!(!killed.is_success(), "{point}");
        let visit = place.scene.finish(place.step("1").env("GITHUB_RUN_ATTEMPT", "2").start());
        visit.succeeded();
        assert_eq!(place.runs(HOSTS[0]), Some(place.image(release(1).digest())), "{point}");
        place.scene.assert_sound();
    }
}
