//! What is printed and handed over: nothing that others wrote becomes a command or breaks a page, no secret is anywhere,
//! nothing is too large, and machines can read it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use testbed::fault::{Action, Answer, Rule};
use testbed::image::{Content, Image};
use testbed::registry::{Auth, Registry};

use super::scene::{Scene, Visit, one_service, release, small};

/// What somebody writes who wants to be heard by the runner, in both of its syntaxes, on lines of their own and not, and
/// by those who read.
const EVIL: &str = "harmless\n::set-output name=decision::pwned\r::add-path::/pwned\n ::error::pwned ##[set-env \
    name=PATH]pwned\n##[error]pwned\u{2028}::stop-commands::pwned\n\u{1b}[31mred\u{1b}]0;title\u{7} \u{202e}txt.exe \
    | a | b |\n| --- |\n```\n</details><img src=x onerror=pwned> [x](javascript:pwned) @octocat #1 `code` %0A::error::pwned";

/// The cells of a Markdown table's row.
fn cells(row: &str) -> usize {
    row.replace("\\\\", "").replace("\\|", "").matches('|').count()
}

/// Nothing in the runner's log is a command but ours, and the pages are whole.
fn is_harmless(visit: &Visit) {
    for command in visit.commands() {
        match command.name.as_str() {
            "add-mask" | "endgroup" => {}
            "group" => assert!(!command.data.contains("pwned"), "{command:?}"),
            "error" | "warning" | "notice" => {
                assert!(command.data.contains("\nfix: ") || command.property("title") == Some("until"), "{command:?}");
            }
            other => panic!("{other} is a command:\n{visit:?}"),
        }
    }
    assert_ne!(visit.output("decision"), "pwned");
    let report = visit.file_of("report-path").unwrap_or_default();
    for text in [visit.summary(), &report, &visit.stdout, &visit.stderr] {
        for bad in ["\u{1b}", "\u{202e}", "\u{7}", "\u{2028}"] {
            assert!(!text.contains(bad), "{bad:?}:\n{visit:?}");
        }
    }
    for page in [visit.summary(), &report] {
        for bad in ["<img", "</details", "](javascript", " @octocat", " #1"] {
            assert!(!page.contains(bad), "{bad}:\n{page}");
        }
        let mut columns = None;
        for line in page.lines() {
            if !line.starts_with('|') {
                columns = None;
                continue;
            }
            assert_eq!(cells(line), *columns.get_or_insert(cells(line)), "{line}\n{page}");
        }
        assert_eq!(page.lines().filter(|line| line.starts_with("```")).count() % 2, 0, "{page}");
    }
}

fn labelled(value: &str) -> Content {
    Image::index(&["linux/amd64", "linux/arm64"])
        .layers(1, 200)
        .label("org.opencontainers.image.source", value)
        .label("org.opencontainers.image.revision", value)
        .label("org.opencontainers.image.version", value)
        .build()
}

#[test]
fn what_others_wrote_is_text_and_nothing_else() {
    let label = "validate: { label-values: { org.opencontainers.image.source: \"^https://github.com/acme/\" } }";
    let large = format!("{EVIL}{}", "x\u{301}".repeat(300_000));
    for value in [EVIL, &large] {
        let scene = Scene::new().configured(&one_service(label));
        scene.place(&labelled(value), "acme/api", &["staging"]);
        let step = scene
            .production()
            .input("reason", EVIL)
            .input("mode", EVIL)
            .input("requestor", EVIL)
            .env("GITHUB_WORKFLOW", EVIL)
            .env("GITHUB_REF", EVIL);
        let visit = scene.visit(&step);
        visit.was_stopped(1, "check-failed", &["org.opencontainers.image.source"]);
        is_harmless(&visit);
        assert!(visit.summary().len() < 60_000, "{}", visit.summary().len());
        let forced = scene.visit(&step.env("GITHUB_RUN_ID", "2").input("force", "true"));
        assert!(forced.is_success(), "{forced:?}");
        is_harmless(&forced);
        // The record has what was seen, as it was.
        assert_eq!(forced.record().unwrap()["reason"], EVIL);
    }
}

#[test]
fn what_a_registry_says_is_text_and_nothing_else() {
    for (method, path) in [("HEAD", "/v2/*"), ("GET", "/v2/acme/api/blobs/*"), ("PUT", "/v2/*/manifests/*")] {
        for answer in [
            Answer::error(403, EVIL, EVIL),
            Answer::error(400, "MANIFEST_INVALID", &EVIL.repeat(2000)),
            Answer::status(200).header("content-type", "text/html").body(EVIL),
            Answer::status(401)
                .header("www-authenticate", "Bearer realm=\"::error::pwned\",service=\"##[error]pwned\""),
        ] {
            let scene = Scene::new().configured(&one_service(""));
            scene.place(&release(1), "acme/api", &["staging"]);
            scene.here.fault(Rule::on(method, path).act(Action::Answer(answer)));
            let visit = scene.visit_with_losses(&scene.production());
            // A registry that cannot answer a HEAD may be asked otherwise.
            let moved = scene.tag("acme/api", "production").as_deref() == Some(release(1).digest());
            assert_eq!(visit.is_success(), moved, "{visit:?}");
            is_harmless(&visit);
        }
    }
}

#[test]
fn inputs_are_text_and_nothing_else() {
    let scene = Scene::new();
    for input in ["image", "to", "operation", "digest", "until", "deployment-id", "timeout", "force", "variables"] {
        let visit = scene.visit(&scene.plain("{here}/acme/api:staging", "x").input(input, EVIL));
        assert_eq!(visit.code, Some(2), "{visit:?}");
        is_harmless(&visit);
    }
    let visit = scene.visit(&scene.production().file(".github/tidegate.yml", format!("version: 1\n{EVIL}")));
    assert_eq!(visit.code, Some(2), "{visit:?}");
    is_harmless(&visit);
}

/// A secret in every dress that it may leave in.
fn dresses(user: &str, secret: &str) -> Vec<String> {
    let mut percent = String::new();
    for byte in secret.bytes() {
        if byte.is_ascii_alphanumeric() {
            percent.push(char::from(byte));
        } else {
            let _ = write!(percent, "%{byte:02X}");
        }
    }
    vec![secret.to_owned(), percent, STANDARD.encode(secret), STANDARD.encode(format!("{user}:{secret}"))]
}

#[test]
fn secrets_are_nowhere() {
    let (password, wrong, token) = ("s3c:ret/+wörd%", "wr0ng=pa/ss", "gh-t0ken/of+the=job");
    for (auth, given, log) in [
        (Auth::Basic, password, "text"),
        (Auth::Token, password, "json"),
        (Auth::Basic, wrong, "text"),
        (Auth::Token, wrong, "json"),
    ] {
        let here = Registry::builder().auth(auth).user("ann", password).start();
        let scene = Scene::with(here, Registry::start()).configured(&one_service("")).on_postgres();
        scene.place(&small(1), "acme/api", &["staging"]);
        let step = scene
            .production()
            .input("registry-username", "ann")
            .input("registry-password", given)
            .input("github-token", token)
            .input("log-format", log)
            .env("RUNNER_DEBUG", "1")
            .env("TIDEGATE_LOG", "trace");
        let visit = scene.finish(step.start());
        assert_eq!(visit.is_success(), given == password, "{visit:?}");
        let database = scene.database();
        let secrets = [("ann", given), ("octocat", token), (database.user(), database.password())];
        for dress in secrets.iter().flat_map(|(user, secret)| dresses(user, secret)) {
            assert_eq!(visit.places_with(&dress), Vec::<String>::new(), "{dress}:\n{visit:?}");
            assert!(scene.entries().iter().all(|entry| !entry.text.contains(&dress)), "{dress}");
        }
        // The runner is told to hide them, whatever others print.
        for secret in [given, token, database.password()] {
            let hidden = secret.replace('%', "%25");
            assert!(
                visit.masks().iter().any(|mask| mask == secret || *mask == hidden),
                "{secret}: {:?}",
                visit.masks()
            );
        }
    }
}

#[test]
fn a_summary_is_never_larger_than_the_runner_takes() {
    let many = 80;
    let mut configuration = "version: 1\nservices:\n".to_owned();
    for number in 0..many {
        let _ = writeln!(configuration, "  service-{number}: {{ image: \"{{here}}/acme/s{number}\" }}");
    }
    configuration.push_str("environments:\n  production:\n    from-tag: staging\n    tag: production\n");
    configuration.push_str("    validate: { labels: [");
    configuration.push_str(
        &(0..40).map(|label| format!("example.label.with.a.long.name.{label}")).collect::<Vec<_>>().join(", "),
    );
    configuration.push_str("] }\n");
    let scene = Scene::new().configured(&configuration);
    let platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/ppc64le", "linux/s390x"];
    let image = Image::index(&platforms).layers(1, 50).build();
    for number in 0..many {
        scene.place(&image, &format!("acme/s{number}"), &["staging"]);
    }
    let visit = scene.finish(scene.production().start());
    visit.was_stopped(1, "check-failed", &[]);
    assert!(visit.summary().len() <= 1024 * 1024);
    // Of each kind the runner shows ten.
    assert!(visit.annotations("error").len() <= 10, "{}", visit.annotations("error").len());
    assert_eq!(visit.output("error-count"), many.to_string());
}

#[test]
fn machines_read_a_line_at_a_time() {
    let scene = Scene::new().configured(&one_service(""));
    scene.place(&release(1), "acme/api", &["staging"]);
    let json = scene.production().input("log-format", "json");
    let visit = scene.visit(&json);
    visit.succeeded();
    let absent = scene.visit(&json.env("GITHUB_RUN_ID", "2").input("digest", small(4).digest()));
    assert_eq!(absent.code, Some(1));
    for visit in [visit, absent] {
        let lines = visit.lines();
        assert!(lines.len() > 5, "{lines:?}");
        let mut events = 0;
        for line in lines {
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
            events += u64::from(line.to_string().contains("event.kind"));
        }
        assert_eq!(events, scene.run_of(&visit).seq, "each event is a line");
    }
}
