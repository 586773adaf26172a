//! What a configuration means.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use tidegate::config::{
    Body, CheckName, CheckSeverity, Configuration, Driver, Environment, GithubDeployment, NotifyEvent, ProbeKind,
};
use tidegate::promotion::fault::{Code, Fault};

use super::{EVERY_KEY, EXAMPLE, production, read, with_production};

#[test]
fn the_example_loads_as_it_stands() {
    let configuration = read(EXAMPLE);
    let production = production(&configuration);
    assert_eq!(production.target("api").unwrap().to_string(), "ghcr.io/acme/api:production");
    assert_eq!(production.source("api").unwrap().to_string(), "ghcr.io/acme/api:staging");
    assert_eq!(configuration.services().keys().collect::<Vec<_>>(), ["api", "web"]);
    assert_eq!(configuration.service("web").unwrap().needs, ["api"]);
    assert!(matches!(production.settings().deploy, Some(Driver::Http(_))));
    assert_eq!(production.settings().gates.soak, Some(Duration::from_secs(3600)));
    let names: BTreeSet<&str> = configuration.secrets(production).iter().map(|secret| secret.name()).collect();
    let all = [
        "BREVO_API_KEY",
        "DATABASE_URL",
        "OAUTH_CLIENT_ID_PROD",
        "OAUTH_CLIENT_SECRET_PROD",
        "SLACK_WEBHOOK",
        "TEAMS_WEBHOOK",
    ];
    assert_eq!(names, BTreeSet::from(all));
}

#[test]
fn json_is_accepted() {
    let yaml: serde_json::Value = serde_yaml::from_str(EXAMPLE).unwrap();
    let json = Configuration::parse("deployment.json", &serde_json::to_string_pretty(&yaml).unwrap()).unwrap();
    let yaml = read(EXAMPLE);
    assert_eq!(json.checksum(production(&json)), yaml.checksum(production(&yaml)));
    // Without a telling name, the text decides.
    assert!(
        Configuration::parse("settings", "{\"version\": 2}")
            .is_err_and(|errors| errors.to_string().contains("version 1"))
    );
    let text = "{\n\t\"version\": 1,\n\t\"services\": {\"a\": {}},\n\t\"environments\": {\"e\": {\"gates\": {\"soak\": \"\\ud83d\\ude00\"}}}\n}";
    let error = Configuration::parse("deployment.json", text).unwrap_err();
    assert_eq!(error.iter().next().unwrap().line, Some(4), "{error}");
}

#[test]
fn a_service_overrides_key_by_key() {
    let text = with_production(
        "immutable-tags: [\"a-{{ sequence }}\"]
health: { retries: 7, timeout: 3s, probes: { one: { url: 'https://a.test', status: [200, 201] }, two: { tcp: 'a:1' } } }
deploy: { http: { bearer: '${A}', promote: { url: 'https://a.test', json: { a: 1, b: 2 } } } }
gates: { approval: { minimum: 1 }, branches: [main] }",
    );
    let over = "
    environments:
      production:
        tag: other
        immutable-tags: [b]
        health: { timeout: 9s, probes: { one: { status: 204, latency: 1s }, two: { dns: a.test }, three: { tcp: 'b:2' } } }
        deploy: { http: { basic: { user: '${U}', password: '${P}' }, promote: { json: { b: 3 } } } }
        gates: { branches: [] }";
    let text = text
        .replace(
            "  api: { image: ghcr.io/acme/api }",
            &format!("  web: {{}}\n  api:\n    image: ghcr.io/acme/api{over}"),
        )
        .replace("branches: []", "branches: [release]");
    let configuration = read(&text);
    let environment = production(&configuration);
    assert_eq!(environment.for_service("web"), environment.settings());
    let (base, api) = (environment.settings(), environment.for_service("api"));
    assert_eq!((base.tag.as_ref().unwrap().as_str(), api.tag.as_ref().unwrap().as_str()), ("production", "other"));
    assert_eq!(api.immutable_tags.iter().map(|tag| tag.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(api.gates.branches, ["release"]);
    assert_eq!(api.gates.approval, base.gates.approval);
    let health = api.health.as_ref().unwrap();
    assert_eq!((health.retries, health.timeout), (7, Duration::from_secs(9)));
    assert_eq!(health.probes.keys().collect::<Vec<_>>(), ["one", "two", "three"]);
    let ProbeKind::Http(one) = &health.probes["one"].kind else { panic!("another kind") };
    assert_eq!(one.expect.status.iter().map(ToString::to_string).collect::<Vec<_>>(), ["204"]);
    assert!(matches!(health.probes["two"].kind, ProbeKind::Dns { .. }), "another choice replaces the whole");
    let Some(Driver::Http(http)) = &api.deploy else { panic!("another driver") };
    assert_eq!(serde_json::to_value(http).unwrap()["promote"]["body"]["json"], serde_json::json!({ "a": 1, "b": 3 }));
    assert_eq!(
        serde_json::to_value(&http.authentication).unwrap(),
        serde_json::json!({ "basic": { "user": "${U}", "password": "${P}" } })
    );
    assert_eq!(environment.target("api").unwrap().to_string(), "ghcr.io/acme/api:other");
}

#[test]
fn github_at_the_top_holds_for_every_environment() {
    let text = with_production("github: { issues: false }") + "github: { deployment: off, labels: [x] }\n";
    let configuration = read(&text);
    let github = &production(&configuration).settings().github;
    assert_eq!((github.deployment, github.issues, github.status), (GithubDeployment::Off, false, true));
    assert_eq!(github.labels, ["x"]);
    assert!(github.is_production("production") && !github.is_production("staging"));
    assert_eq!(github.environment_name("production"), "production");
    let staging = &configuration.environment("staging").unwrap().settings().github;
    assert_eq!((staging.deployment, staging.issues), (GithubDeployment::Off, true));
}

#[test]
fn without_a_configuration_little_can_fail_and_nothing_is_written() {
    let environment = Environment::without_configuration("ghcr.io/acme/api:production");
    let settings = environment.for_service("acme/api");
    for check in CheckName::ALL {
        let wanted = if *check == CheckName::Command { CheckSeverity::Fail } else { CheckSeverity::Off };
        assert_eq!(settings.validate.severity(*check), wanted, "{check}");
    }
    let github = &settings.github;
    assert!(!github.status && !github.issues && !github.record && github.deployment == GithubDeployment::Off);
    assert!(settings.deploy.is_none() && settings.health.is_none() && settings.gates.approval.is_none());
}

#[test]
fn what_is_asked_for_fails_unless_its_severity_says_otherwise() {
    let text = with_production(
        "validate: { labels: [a], age: { max: 30d }, severity: { age: warn }, content: { packages: true } }",
    );
    let configuration = read(&text);
    let validate = &production(&configuration).settings().validate;
    let severity = |check| validate.severity(check);
    assert_eq!([CheckName::Labels, CheckName::Packages, CheckName::Command].map(severity), [CheckSeverity::Fail; 3]);
    assert_eq!(severity(CheckName::Age), CheckSeverity::Warn);
    assert_eq!(severity(CheckName::Signature), CheckSeverity::Off);
}

#[test]
fn channels_are_told_what_they_want() {
    let text = with_production("")
        + "notify:
  usual: { slack: '${A}' }
  bad: { slack: '${A}', at-least: high, environments: production }
  some: { slack: '${B}', on: [started], environments: [staging] }
";
    let configuration = read(&text);
    let names = |environment| configuration.channels(environment).map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names("production"), ["usual", "bad"]);
    assert_eq!(names("staging"), ["usual", "some"]);
    let (_, bad) = configuration.channels("production").nth(1).unwrap();
    assert!(bad.wants(NotifyEvent::RollbackFailed, "production") && bad.wants(NotifyEvent::Drift, "production"));
    assert!(!bad.wants(NotifyEvent::Succeeded, "production") && !bad.wants(NotifyEvent::Drift, "staging"));
    let secrets = |environment: &str| {
        configuration
            .secrets(configuration.environment(environment).unwrap())
            .iter()
            .map(|secret| secret.name())
            .collect::<Vec<_>>()
    };
    assert_eq!((secrets("production"), secrets("staging")), (vec!["A", "A"], vec!["A", "B"]));
}

#[test]
fn a_secret_is_read_when_it_is_needed() {
    let configuration = read(&with_production("migrate: { sqlx: migrations, database: '${DATABASE_URL}' }"));
    let [secret] = production(&configuration).secrets() else { panic!("one secret") };
    let resolved =
        secret.resolve(&|name| (name == "DATABASE_URL").then(|| "postgres://u:hunter2@h/d".to_owned())).unwrap();
    assert_eq!(resolved.expose_secret(), "postgres://u:hunter2@h/d");
    for variables in [&(|_: &str| None) as &dyn Fn(&str) -> Option<String>, &|_| Some("  ".to_owned())] {
        let error = secret.resolve(variables).unwrap_err();
        assert_eq!(error.code, Code::SecretUnset);
        assert_eq!(error.path, "environments.production.migrate.database");
        assert_eq!((error.line, error.column), (Some(9), Some(44)));
        assert!(error.to_string().contains("DATABASE_URL"), "{error}");
        assert_eq!(Fault::from(error).code, Code::SecretUnset);
    }
}

#[test]
fn bodies_and_headers_are_filled_in() {
    let configuration = read(&with_production(
        "deploy: { http: { promote: {
  url: 'https://a.test/{{ vars.site }}', headers: { x-api-key: '${KEY}', x-mode: '{{ mode }}' },
  json: { digest: '{{ digest }}', list: [1, '${KEY}', null], urgent: true } } } }",
    ));
    let Some(Driver::Http(http)) = &production(&configuration).settings().deploy else { panic!("another driver") };
    let values = serde_json::json!({ "digest": "sha256:00", "mode": "a \"b\"", "vars": { "site": "x" } });
    let variables = |name: &str| (name == "KEY").then(|| "hunter2".to_owned());
    assert_eq!(http.promote.url.render(&values).as_deref(), Ok("https://a.test/x"));
    let Some(Body::Json(json)) = &http.promote.body else { panic!("another body") };
    assert_eq!(
        json.fill(&values, &variables).unwrap(),
        serde_json::json!({ "digest": "sha256:00", "list": [1, "hunter2", null], "urgent": true })
    );
    let header =
        |name: &str| http.promote.headers[name].fill(&values, &variables).map(|value| value.expose_secret().to_owned());
    assert_eq!((header("x-api-key").unwrap(), header("x-mode").unwrap()), ("hunter2".to_owned(), "a \"b\"".to_owned()));
    let unset = json.fill(&values, &|_| None).unwrap_err().to_string();
    assert!(unset.contains("promote.json.list[1]") && unset.contains("`KEY` is not set"), "{unset}");
    let lacking = http.promote.url.render(serde_json::json!({})).unwrap_err().to_string();
    assert!(lacking.contains("vars") && !lacking.contains("hunter2"), "{lacking}");
}

#[test]
fn names_that_are_not_known_are_input_errors() {
    let configuration = read(&with_production(""));
    let error = configuration.environment("prodction").unwrap_err();
    assert_eq!(
        error.to_string(),
        "tidegate.yml:4:1: environments: there is no environment `prodction`\n  fix: did you mean `production`?"
    );
    assert_eq!(error.code, Code::InputInvalid);
    assert!(configuration.service("db").unwrap_err().to_string().contains("the services here are `api`"));
}

#[test]
fn the_checksum_is_of_what_is_meant() {
    let plain = with_production("gates: { soak: 1h }\nvalidate: { labels: [a, b], size: { max: 1GiB } }");
    let checksum = |text: &str| {
        let configuration = read(text);
        configuration.checksum(production(&configuration))
    };
    let base = checksum(&plain);
    for same in [
        format!("# a comment\n{plain}\n"),
        plain.replace("gates: { soak: 1h }", "gates:\n      soak: 60m"),
        plain.replace("labels: [a, b], size: { max: 1GiB }", "size: { max: 1024MiB }, labels:   [ 'a', b ]"),
        plain.replace("gates: {", "gates: { clean: false,"),
        plain.replace(
            "staging: { tag: staging }",
            "staging: { tag: staging, gates: { soak: 1h }, from: other }\n  other: { tag: other }",
        ),
    ] {
        assert_eq!(checksum(&same), base, "{same}");
    }
    for other in [
        plain.replace("soak: 1h", "soak: 2h"),
        plain.replace("[a, b]", "[b, a]"),
        plain.replace("acme/api", "acme/other"),
        plain.replace("tag: staging", "tag: next"),
        plain.replace(
            "image: ghcr.io/acme/api",
            "image: ghcr.io/acme/api, environments: { production: { gates: { clean: true } } }",
        ),
        format!("{plain}retry: {{ attempts: 2 }}\n"),
        format!("{plain}github: {{ issues: false }}\n"),
        format!("{plain}notify: {{ a: {{ slack: '${{A}}' }} }}\n"),
    ] {
        assert_ne!(checksum(&other), base, "{other}");
    }
}

#[test]
fn no_value_of_a_secret_can_be_in_the_checked_model() {
    let configuration = read(EVERY_KEY);
    for environment in configuration.environments() {
        let shown = serde_json::to_string(environment).unwrap();
        for secret in environment.secrets() {
            assert!(shown.contains(&secret.to_string()), "{secret} is not in {}", environment.name());
        }
    }
}

/// Pieces that configurations are made of, and pieces that break them.
fn fragment() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("version"),
        Just("services"),
        Just("environments"),
        Just("production"),
        Just("gates"),
        Just("deploy"),
        Just("http"),
        Just("image"),
        Just("tag"),
        Just("health"),
        Just("probes"),
        Just("url"),
        Just("1"),
        Just("~"),
        Just("${A}"),
        Just("${{ a }}"),
        Just("{{ digest }}"),
        Just("{{"),
        Just("*a"),
        Just("&a"),
        Just("!t"),
        Just("<<"),
        Just("- "),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just(","),
        Just("\""),
        Just("'"),
        Just("|"),
        Just(">"),
        Just("#"),
        Just("\t"),
        Just("---"),
        Just("1h"),
        Just("1.5"),
        Just("\u{feff}"),
        Just("é"),
        Just("\0"),
        Just("99999999999999999999999"),
        Just(".inf"),
    ];
    let end = prop_oneof![Just(""), Just(" "), Just(": "), Just("\n"), Just("\n  "), Just(":\n    ")];
    proptest::collection::vec((word, end), 0..40)
        .prop_map(|parts| parts.into_iter().map(|(word, end)| format!("{word}{end}")).collect())
}

/// The value that is number `place` among all values of a tree, in its order.
fn value_at<'v>(value: &'v mut serde_yaml::Value, place: &mut usize) -> Option<&'v mut serde_yaml::Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    match value {
        serde_yaml::Value::Mapping(entries) => entries.iter_mut().find_map(|(_, value)| value_at(value, place)),
        serde_yaml::Value::Sequence(items) => items.iter_mut().find_map(|item| value_at(item, place)),
        _ => None,
    }
}

/// Something that may stand anywhere.
fn anything() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "~",
        "true",
        "0",
        "-1",
        "1.5",
        "18446744073709551615",
        "''",
        "' '",
        "text",
        "'${A}'",
        "'${{ a }}'",
        "'${a} b'",
        "'{{ digest }}'",
        "'{{ nothing }}'",
        "'{{'",
        "1h",
        "1GiB",
        "50%",
        "https://a.test",
        "[]",
        "[1]",
        "[text, '${A}']",
        "{}",
        "{ a: b }",
        "{ url: 'https://a.test' }",
        "\"\\u202e\\0\"",
    ])
}

#[test]
fn a_configuration_can_only_be_so_wide() {
    let environments: String = (0..101).map(|number| format!("  e{number}: {{ tag: t{number} }}\n")).collect();
    let text = format!("version: 1\nservices: {{ a: {{}} }}\nenvironments:\n{environments}");
    assert!(super::refused(&text).contains("names 101, and 100 are the most"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_value_anywhere_is_taken_or_refused_with_its_place(place in 0usize..900, with in anything()) {
        let mut tree: serde_yaml::Value = serde_yaml::from_str(EVERY_KEY).unwrap();
        let with: serde_yaml::Value = serde_yaml::from_str(with).unwrap();
        if let Some(value) = value_at(&mut tree, &mut place.clone()) {
            *value = with;
        }
        let text = serde_yaml::to_string(&tree).unwrap();
        if let Err(errors) = Configuration::parse("a.yml", &text) {
            for error in errors.iter() {
                prop_assert!(error.line.is_some() && error.column.is_some() && !error.fix.is_empty(), "{error}");
                prop_assert!(error.code != Code::Defect, "{text}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![fragment(), "\\PC{0,200}", ".{0,200}"]) {
        for (file, text) in [
            ("a.yml", text.clone()),
            ("a.json", text.clone()),
            ("a.yml", format!("version: 1\n{text}")),
            ("a.yml", with_production(&text)),
        ] {
            if let Err(errors) = Configuration::parse(file, &text) {
                prop_assert!(errors.iter().all(|error| !error.message.is_empty() && !error.fix.is_empty()), "{errors}");
                prop_assert!(!errors.to_string().contains("was not told"), "{errors}");
            }
        }
    }

    #[test]
    fn scalars_are_replaced_and_what_is_not_overridden_stays(
        base in (1u32..100, 1u64..1000, any::<bool>()), over in (proptest::option::of(1u32..100), proptest::option::of(1u64..1000)),
    ) {
        let (retries, wait, clean) = base;
        let text = with_production(&format!("health: {{ retries: {retries} }}\ngates: {{ lock: {{ wait: {wait}s }}, clean: {clean} }}"));
        let mut written = String::new();
        if let Some(retries) = over.0 {
            written += &format!("health: {{ retries: {retries} }}, ");
        }
        if let Some(wait) = over.1 {
            written += &format!("gates: {{ lock: {{ wait: {wait}s }} }}, ");
        }
        let text = text.replace("api }", &format!("api, environments: {{ production: {{ {written} }} }} }}"));
        let configuration = read(&text);
        let (own, merged) = (production(&configuration).settings(), production(&configuration).for_service("api"));
        prop_assert_eq!(merged.health.as_ref().unwrap().retries, over.0.unwrap_or(retries));
        prop_assert_eq!(merged.gates.lock.wait, Duration::from_secs(over.1.unwrap_or(wait)));
        prop_assert_eq!(merged.gates.clean, own.gates.clean);
        if over == (None, None) {
            prop_assert_eq!(own, merged);
        }
    }
}
