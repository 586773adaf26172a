//! Every kind of probe that is not HTTP, against what it asks: the real thing where the machine has it.

use serde_json::json;
use testbed::authority::Authority;
use testbed::lambda::{KEY, Lambda};
use testbed::postgres::Postgres;
use testbed::redis::Redis;
use testbed::runner::Runner;
use testbed::service::Behaviour;

use crate::scene::{Scene, Visit};

/// What a probe's answer comes to.
#[derive(Clone, Copy)]
enum Comes {
    /// It is good.
    Well,
    /// It is bad.
    Bad(&'static str),
    /// It cannot be asked for.
    Unknown(&'static str),
    /// It is good, and something should be known.
    Warns(&'static str),
}

/// Promotes once with this probe alone, in a step that was changed so.
fn asked(probe: &str, change: impl FnOnce(Runner) -> Runner) -> Visit {
    let keys = format!(
        "health:\n  retries: 2\n  interval: 20ms\n  timeout: 5s\n  probes:\n    it: {{ {probe} }}\nrollback: {{ automatic: false }}\n"
    );
    let scene = Scene::with(&keys);
    scene.place(1, Behaviour::Healthy);
    scene.visit(&change(scene.next_step()))
}

#[track_caller]
fn comes_to(visit: &Visit, comes: Comes) {
    let shown = visit.finished.to_string();
    let (exits, health, text): (&[i32], _, _) = match comes {
        Comes::Well => (&[0], "healthy", ""),
        Comes::Warns(text) => (&[0], "healthy", text),
        Comes::Bad(text) => (&[1, 5], "unhealthy", text),
        Comes::Unknown(text) => (&[6], "inconclusive", text),
    };
    assert_eq!(visit.output("health"), health, "{shown}");
    assert!(visit.finished.code.is_some_and(|code| exits.contains(&code)), "{shown}");
    assert!(shown.contains(text), "no `{text}` in {shown}");
    if matches!(comes, Comes::Well) {
        assert!(!shown.contains("::warning"), "{shown}");
    }
}

#[test]
fn a_function_is_invoked_and_has_to_answer_as_expected() {
    let lambda = Lambda::start();
    lambda.image_function("api-production", "acme/api@sha256:aa");
    lambda.image_function("broken", "acme/api@sha256:bb");
    lambda.break_image("acme/api@sha256:bb");
    lambda.answers(json!({ "ok": true, "checks": { "db": "up" } }));
    let probe = |function: &str, more: &str| {
        format!("lambda: {function}, region: eu-west-1, endpoint: \"{}\"{more}", lambda.url())
    };
    let known = |step: Runner| step.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI-EXAMPLE");
    let payload = ", payload: { check: \"{{ environment }}\" }, expect: { \"$.ok\": true, \"$.checks.db\": up }";
    for (function, more, comes) in [
        ("\"api-{{ environment }}\"", payload, Comes::Well),
        ("api-production", ", expect: { \"$.ok\": false }", Comes::Bad("$.ok is not false")),
        ("broken", "", Comes::Bad("the function fails (Unhandled)")),
        ("absent", "", Comes::Bad("absent is not there")),
        ("api-production", ", qualifier: live", Comes::Bad("is not there")),
    ] {
        comes_to(&asked(&probe(function, more), known), comes);
    }
    let sent: Vec<_> =
        lambda.log().into_iter().filter(|entry| entry.path().ends_with("api-production/invocations")).collect();
    assert!(sent.iter().all(|entry| entry.method == "POST") && !sent.is_empty());
    // Who is not let in knows nothing of the function; who has no keys does not even begin.
    let stranger =
        |step: Runner| step.env("AWS_ACCESS_KEY_ID", "AKIDWRONG").env("AWS_SECRET_ACCESS_KEY", "s3cret-key-of-aws");
    let visit = asked(&probe("api-production", ""), stranger);
    comes_to(&visit, Comes::Unknown("UnrecognizedClientException"));
    assert!(!visit.finished.to_string().replace("::add-mask::s3cret-key-of-aws", "").contains("s3cret-key-of-aws"));
    let keys = ", credentials: { access-key-id: \"${PROBE_KEY}\", secret-access-key: \"${PROBE_SECRET}\" }";
    let own = |step: Runner| stranger(step).env("PROBE_KEY", KEY).env("PROBE_SECRET", "another-secret");
    comes_to(&asked(&probe("api-production", keys), own), Comes::Well);
    let visit = asked(&probe("api-production", ""), |step| step);
    visit.ended(1, "failed", "", "driver-refused");
    let away = format!("lambda: api, region: eu-west-1, endpoint: \"http://127.0.0.1:{}\"", testbed::free_port());
    comes_to(&asked(&away, known), Comes::Unknown("AWS Lambda (api)"));
}

#[test]
fn a_certificate_is_trusted_and_lasts_or_that_is_said() {
    let authority = Authority::new();
    let listening = |days| Redis::start(None, Some(&authority.issue_lasting(days)));
    let (good, ending, ended) = (listening(365), listening(5), listening(-1));
    let stranger = Redis::start(None, Some(&authority.issue_for(&["elsewhere.test"])));
    let trusting = |step: Runner| step.env("SSL_CERT_FILE", &authority.file().display().to_string());
    let probe = |port: u16| format!("tls: \"localhost:{port}\"");
    comes_to(&asked(&probe(good.port()), trusting), Comes::Well);
    comes_to(
        &asked(&format!("{}, certificate: 400d", probe(good.port())), trusting),
        Comes::Warns("the certificate ends on"),
    );
    comes_to(&asked(&probe(ending.port()), trusting), Comes::Warns("the certificate ends on"));
    comes_to(&asked(&probe(ended.port()), trusting), Comes::Unknown("is not trusted"));
    comes_to(&asked(&probe(stranger.port()), trusting), Comes::Unknown("is not trusted"));
    comes_to(&asked(&probe(good.port()), |step| step), Comes::Unknown("is not trusted"));
    let plain = Redis::start(None, None);
    comes_to(&asked(&probe(plain.port()), trusting), Comes::Bad("localhost"));
    comes_to(&asked(&probe(testbed::free_port()), trusting), Comes::Bad("refuses the connection"));
}

#[test]
fn a_database_answers_with_what_is_expected() {
    let database = Postgres::shared().database();
    database.psql("create table flag (value text); insert into flag values ('on')");
    let url = database.url();
    let wrong = url.replacen(":ti", ":no", 1).replacen("%74", "%75", 1);
    let wrong = if wrong == url { url.replacen('@', "x@", 1) } else { wrong };
    let gone = url.replace(database.name(), "nobody_made_this");
    let away = url.replace(&format!(":{}/", database.port()), &format!(":{}/", testbed::free_port()));
    for (url, more, comes) in [
        (&url, "", Comes::Well),
        (&url, ", query: \"SELECT value FROM flag\", value: \"on\"", Comes::Well),
        (
            &url,
            ", query: \"SELECT value FROM flag\", value: \"off\"",
            Comes::Bad("the query gives `on`, and `off` is wanted"),
        ),
        (&url, ", query: \"SELECT value FROM flag WHERE false\", value: \"on\"", Comes::Bad("the query gives nothing")),
        (&url, ", query: \"SELECT 1 / 0\"", Comes::Bad("division by zero (22012)")),
        (&url, ", query: \"SELECT * FROM pg_authid\"", Comes::Unknown("42501")),
        (&url, ", query: \"SELECT pg_sleep(60)\", timeout: 300ms", Comes::Bad("no answer within 300ms")),
        (&wrong, "", Comes::Unknown("28P01")),
        (&gone, "", Comes::Unknown("3D000")),
        (&away, "", Comes::Bad("the database refuses the connection")),
    ] {
        let visit = asked(&format!("postgres: \"${{PROBED}}\"{more}"), |step| step.env("PROBED", url));
        comes_to(&visit, comes);
        let shown = visit.finished.to_string().replace(&format!("::add-mask::{url}"), "");
        assert!(!shown.contains(database.password()), "{shown}");
    }
    // A pooler that mixes up what it should not is before many a database.
    let pool = database.pool();
    let through = |step: Runner| step.env("PROBED", &pool.url());
    comes_to(&asked("postgres: \"${PROBED}\", query: \"SELECT value FROM flag\", value: \"on\"", through), Comes::Well);
    pool.stop();
    comes_to(&asked("postgres: \"${PROBED}\"", through), Comes::Bad("refuses the connection"));
}

#[test]
fn redis_says_pong() {
    let (open, guarded) = (Redis::start(None, None), Redis::start(Some("p@ss w/rd"), None));
    let authority = Authority::new();
    let sealed = Redis::start(Some("p@ss w/rd"), Some(&authority.issue()));
    let loading = Redis::start(None, None);
    loading.answers("-LOADING Redis is loading the dataset in memory");
    let trusted = authority.file().display().to_string();
    let address = |scheme: &str, login: &str, port: u16| format!("{scheme}://{login}localhost:{port}");
    for (url, comes) in [
        (address("redis", "", open.port()), Comes::Well),
        (address("redis", ":p%40ss%20w%2Frd@", guarded.port()), Comes::Well),
        (address("redis", "probe:p%40ss%20w%2Frd@", guarded.port()), Comes::Well),
        (address("rediss", ":p%40ss%20w%2Frd@", sealed.port()), Comes::Well),
        (address("redis", "", guarded.port()), Comes::Unknown("it wants a login: -NOAUTH")),
        (address("redis", ":n0t-this-one@", guarded.port()), Comes::Unknown("the login is refused: -WRONGPASS")),
        (address("redis", "", loading.port()), Comes::Bad("it answers PING with -LOADING")),
        (address("redis", "", testbed::free_port()), Comes::Bad("refuses the connection")),
        (address("redis", "", sealed.port()), Comes::Bad("localhost")),
    ] {
        let visit = asked("redis: \"${PROBED}\"", |step| step.env("PROBED", &url).env("SSL_CERT_FILE", &trusted));
        comes_to(&visit, comes);
        assert!(!visit.finished.summary().contains("n0t-this-one"), "{visit:?}");
    }
    assert!(open.commands().iter().all(|words| *words == ["PING"]));
    assert!(guarded.commands().contains(&vec!["AUTH".to_owned(), "probe".to_owned(), "p@ss w/rd".to_owned()]));
    let visit = asked("redis: \"${PROBED}\"", |step| step.env("PROBED", "http://localhost"));
    visit.ended(2, "failed", "", "configuration-invalid");
}

#[test]
fn a_name_is_resolved_to_what_is_expected() {
    for (probe, comes) in [
        ("dns: localhost", Comes::Well),
        ("dns: localhost, addresses: [\"192.0.2.1\", \"127.0.0.1\", \"::1\"]", Comes::Well),
        ("dns: localhost, addresses: [\"192.0.2.1\"]", Comes::Bad("localhost is ")),
    ] {
        comes_to(&asked(probe, |step| step), comes);
    }
    // Whether there is no such name, or nobody to ask, depends on the machine; it never does well.
    let visit = asked("dns: nobody.invalid", |step| step);
    assert!(["unhealthy", "inconclusive"].contains(&visit.output("health")), "{visit:?}");
    assert!(visit.finished.to_string().contains("nobody.invalid"), "{visit:?}");
}

#[test]
fn a_program_ends_well_or_does_not() {
    for (probe, comes) in [
        ("command: [sh, -c, \"test $WANTED = production\"], env: { WANTED: \"{{ environment }}\" }", Comes::Well),
        ("command: [sh, -c, \"echo the queue is stuck >&2; exit 3\"]", Comes::Bad("the queue is stuck")),
        ("command: [sleep, \"60\"], timeout: 200ms", Comes::Bad("no answer within 200ms")),
        ("command: [nobody-installed-this]", Comes::Unknown("nobody-installed-this")),
        // It gets what it is given, and nothing else.
        ("command: [sh, -c, \"test -z $AWS_SECRET_ACCESS_KEY\"]", Comes::Well),
    ] {
        comes_to(&asked(probe, |step| step.env("AWS_SECRET_ACCESS_KEY", "not-for-others")), comes);
    }
}
