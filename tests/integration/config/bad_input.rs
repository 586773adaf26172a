//! Everything that can be wrong with a configuration, and what is said about it.
//!
//! Each table is one snapshot: the text as it was written, and the errors as people see them.

use std::fmt::Write as _;

use tidegate::config::Configuration;
use tidegate::promotion::fault::{Code, Fault};

use super::{refused, with_production};

/// Compares with the snapshot, which shows the texts themselves and not how they were made.
macro_rules! assert_told {
    ($told:expr) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!($told) })
    };
}

/// The errors of each text, one after the other.
fn told(texts: impl IntoIterator<Item = String>) -> String {
    let mut all = String::new();
    for text in texts {
        let _ = write!(all, "{}\n=> {}\n\n", text.trim_end(), refused(&text).replace('\n', "\n   "));
    }
    all
}

/// The errors of each body in the environment `production`.
fn told_of<const N: usize>(bodies: [&str; N]) -> String {
    let mut all = String::new();
    for body in bodies {
        let _ = write!(all, "{body}\n=> {}\n\n", refused(&with_production(body)).replace('\n', "\n   "));
    }
    all
}

#[test]
fn the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("large.yml"), "#".repeat((1 << 20) + 1)).unwrap();
    std::fs::write(path("binary.yml"), [0xff, 0xfe, 0x00]).unwrap();
    let mut all = String::new();
    for name in ["absent.yml", "large.yml", "binary.yml", "."] {
        let error = Configuration::load(&path(name)).unwrap_err();
        assert_eq!(Fault::from(error.clone()).code, Code::ConfigurationInvalid);
        let _ = writeln!(all, "{error}");
    }
    assert_told!(all.replace(&folder.path().display().to_string(), "<folder>"));
}

#[test]
fn syntax() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
                g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n";
    assert_told!(told(
        [
            "",
            "# nothing but a comment\n",
            "---\n",
            "just text",
            "- a\n- b\n",
            "version: 1\n\tservices: {}\n",
            "version: 1\nservices:\n  api:\n\timage: x\n",
            "version: 1\nservices: {\n",
            "version: 1\nservices: a: b\n",
            "version: 1\ntag: {{ digest }}x\n",
            "version: 1\nservices: *nothing\n",
            "version: 1\nservices: !special {}\n",
            "version: 1\nservices: {}\nversion: 1\n",
            "version: 1\nservices:\n  api: {}\n  web: {}\n  api: {}\n",
            "version: 1\nservices: { api: { <<: { image: x } } }\n",
            "version: 1\n---\nversion: 1\n",
            "version: 1\nservices: { a: 99999999999999999999999999 }\n",
            "version: 1\nservices: { a: .inf }\n",
            "version: 1\nservices: { ? [a] : b }\n",
            bomb,
        ]
        .map(ToOwned::to_owned)
    ));
    let deep = format!("version: 1\nservices: {}{}\n", "[".repeat(500), "]".repeat(500));
    assert!(refused(&deep).contains("nested too deeply"), "{}", refused(&deep));
    let many = format!("version: 1\nservices: [{}]\n", "1,".repeat(200_000));
    assert!(refused(&many).contains("more than 100000 values"), "{}", refused(&many));
}

#[test]
fn json_syntax() {
    let mut all = String::new();
    for text in [
        "",
        "[]",
        "{",
        "{\"version\": 1,}",
        "{\"version\": 1, \"version\": 1}",
        "{\"version\": 1, \"servces\": {}}",
        "{\n  \"version\": 1,\n  \"services\": {\"api\": {\"image\": \"api\"}},\n  \"environments\": {\"a\": {\"tag\": \"a\"}}\n}",
        "{\"version\": 1} trailing",
    ] {
        let errors = Configuration::parse("deployment.json", text).unwrap_err();
        let _ = write!(all, "{text}\n=> {}\n\n", errors.to_string().replace('\n', "\n   "));
    }
    assert_told!(all);
}

#[test]
fn the_top() {
    assert_told!(told([
        "services: {}\n".to_owned(),
        "version: 2\nanything: 1\n".to_owned(),
        "version: \"1\"\n".to_owned(),
        "version: 1.0\n".to_owned(),
        "version: 1\n".to_owned(),
        "version: 1\nservices: {}\nenvironments: {}\n".to_owned(),
        "version: 1\nservices:\nenvironments: {}\n".to_owned(),
        "version: 1\nservces: {}\nenvironments: {}\n".to_owned(),
        "version: 1\nservices: []\nenvironments: {}\n".to_owned(),
        with_production("").replace("image:", "imgae:"),
        with_production("").replace("ghcr.io/acme/api", "api"),
        with_production("").replace("ghcr.io/acme/api", "acme/api"),
        with_production("").replace("ghcr.io/acme/api", "ghcr.io/acme/api:v1"),
        with_production("").replace("ghcr.io/acme/api", "ghcr.io/Acme/api"),
        with_production("").replace("  api:", "  \"a/b\":"),
        with_production("").replace("  production:", "  \" production\":"),
        with_production("").replace("api }", "api, needs: [web] }"),
        with_production("").replace("api }", "api, needs: [api] }"),
        "version: 1
services: { a: { needs: [b] }, b: { needs: [c] }, c: { needs: [a] }, d: { needs: [a, aa] } }
environments: { x: {} }
"
        .to_owned(),
        with_production("").replace("api }", "api, environments: { prodcution: {} } }"),
        with_production("") + "insecure-registries: [http://registry.lan]\n",
        with_production("") + "retry: { attempts: 0, initial: 2m, factor: 0.5 }\n",
        with_production("") + "retry: { initial: 2m }\n",
        with_production("") + "audit: { archive: ftp://x, region: eu }\n",
        with_production("")
            + "audit: { archive: gs://bucket, endpoint: https://x.test, artifact: false, artifact-retention: 1d }\n",
        with_production("") + "audit: { credentials: { access-key-id: '${A}' } }\n",
        with_production("") + "github: { deployment: yes }\n",
        with_production("") + "github: { url: 'https://user:secret@acme.test' }\n",
    ]));
}

#[test]
fn environments() {
    assert_told!(told([
        with_production("").replace("from: staging", "from: stagging"),
        with_production("").replace("from: staging", "from: production"),
        with_production("").replace("{ tag: staging }", "{ tag: staging, from: production }"),
        with_production("").replace("tag: production", "tag: staging"),
        with_production("repository: ghcr.io/acme/{{ service }}").replace("tag: production", "tag: staging"),
        with_production("").replace("from: staging", "from-tag: production"),
        with_production("from-tag: latest"),
        with_production("").replace("    tag: production\n", ""),
        with_production("").replace("tag: production", "tag: \"pro duction\""),
        with_production("").replace("tag: production", "tag: 1.10"),
        with_production("").replace("tag: production", "tag: \"{{ environment }}-{{ digest }}\""),
        with_production("")
            .replace("  production:", "  prod / eu:")
            .replace("tag: production", "tag: \"{{ environment }}\""),
        with_production("immutable-tags: [production, \"{{ digest }}\", \"{{ sequenze }}\", \"{{ sequence\"]"),
        with_production("immutable-tags: [\"{{ revision | shout }}\", \"{{ digest.short }}\"]"),
        with_production("immutable-tags: production-1"),
        with_production("repository: acme/{{ service }}"),
        with_production("tag: other"),
        with_production("gatse: {}"),
        with_production("gates: [soak]"),
        with_production("gates: true"),
        with_production("gates:"),
        with_production("gates: { soak: 1h }").replace("    from: staging\n", ""),
        with_production("immutable-tags: [production]"),
    ]));
}

#[test]
fn gates() {
    assert_told!(told_of([
        "gates: { soak: 3600 }",
        "gates: { soak: \"3600\" }",
        "gates: { soak: 0s }",
        "gates: { soak: 1 fortnight }",
        "gates: { soak: \"\" }",
        "gates: { soak: \"${SOAK}\" }",
        "gates: { soak: \"${{ vars.SOAK }}\" }",
        "gates: { soak: 200years }",
        "gates: { checks: { required: brunch } }",
        "gates: { checks: { required: named } }",
        "gates: { checks: { treat-skipped-as: green, wait: 1m } }",
        "gates: { workflow: {} }",
        "gates: { workflow: { file: .github/workflows/ci.yml } }",
        "gates: { order: { workflows: [] } }",
        "gates: { approval: { via: email } }",
        "gates: { approval: { via: issue } }",
        "gates: { approval: { via: issue, approvers: [octocat, \"@acme/\", \"a b\"] } }",
        "gates: { approval: { via: issue, approvers: [octocat], minimum: 2 } }",
        "gates: { approval: { via: issue, approvers: [octocat], allow-admin-bypass: true, reminder: 2d } }",
        "gates: { approval: { approvers: [octocat], while-pending: park } }",
        "gates: { approval: { minimum: 0 } }",
        "gates: { approval: { minimum: -1 } }",
        "gates: { approval: { minimum: two } }",
        "gates: { approval: { minimum: 1.5 } }",
        "gates: { freeze: [{ weekly: weekends }] }",
        "gates: { freeze: [{ weekly: \"Fri 16:00 - Mno 08:00\" }] }",
        "gates: { freeze: [{ weekly: \"Fri 16:00 - Fri 16:00\" }] }",
        "gates: { freeze: [{ weekly: \"Fri 25:00 - Mon 08:00\" }] }",
        "gates: { freeze: [{ weekly: \"Fri 16:00 - Mon 08:00\", timezone: Europe/Berlim }] }",
        "gates: { freeze: [{ weekly: \"Fri 16:00 - Mon 08:00\", timezone: CEST }] }",
        "gates: { freeze: [{ weekly: \"Fri 16:00 - Mon 08:00\", until: 2026-12-24 }] }",
        "gates: { freeze: [{ weekly: \"Fri 16:00 - Mon 08:00\", from: 2026-12-24 }] }",
        "gates: { freeze: [{ from: 2026-12-24 }] }",
        "gates: { freeze: [{ from: 2026-12-24, until: 2026-12-23 }] }",
        "gates: { freeze: [{ from: 2026-12-24T10:00+01:00, until: 24.12.2026 }] }",
        "gates: { freeze: [{ reason: holidays }] }",
        "gates: { freeze: { weekly: \"Fri 16:00 - Mon 08:00\" } }",
        "gates: { resources: { a: {} } }",
        "gates: { resources: { a: { url: 'https://a.test', free: 1GB } } }",
        "gates: { resources: { a: { disk: / , free: 10 } } }",
        "gates: { resources: { a: { disk: / } } }",
        "gates: { resources: { a: { disk: / , free: 1GB } } }",
        "gates: { resources: { a: { tcp: db } } }",
        "gates: { lock: { wait: -1s } }",
        "gates: { branches: [] }",
    ]));
}

#[test]
fn validation() {
    assert_told!(told_of([
        "validate: { platforms: [linux] }",
        "validate: { platforms: [] }",
        "validate: { size: { max: 2048 } }",
        "validate: { size: { max: \"2048\" } }",
        "validate: { size: { max: 2 gigs } }",
        "validate: { size: { min: 2GiB, max: 1GiB, layer: { min: 2B, max: 1B } } }",
        "validate: { severity: { users: warn, size: ignore } }",
        "validate: { severity: { user: ignore } }",
        "validate: { profile: strict }",
        "validate: { profile: paranoid }",
        "validate: { layers: shallow }",
        "validate: { age: { max: 0d } }",
        "validate: { label-values: { a: \"(\" } }",
        "validate: { metadata: [creator] }",
        "validate: { scan: { fail-on: severe } }",
        "validate: { scan: { max: { critical: -1 } } }",
        "validate: { scan: { known-exploited: fail } }",
        "validate: { scan: { attached: false } }",
        "validate: { signature: {} }",
        "validate: { signature: { issuer: https://a.test } }",
        "validate: { signature: { issuer: https://a.test, identity: \"a)|(b\" } }",
        "validate: { signature: { issuer: https://a.test, issuer-pattern: a, identity: b, keys: [cosign.pub] } }",
        "validate: { provenance: { builder: x } }",
        "validate: { content: { growth: {} } }",
        "validate: { content: { growth: { total: 0.2 } } }",
        "validate: { content: { ports: { allow: [http] } } }",
        "validate: { sbom: { formats: [swid] } }",
    ]));
}

#[test]
fn deployment() {
    assert_told!(told_of([
        "deploy: {}",
        "deploy: { type: http }",
        "deploy: { http: { promote: { url: 'https://a.test' } }, command: { run: [a] } }",
        "deploy: { http: {} }",
        "deploy: { http: { promote: { url: a.test } } }",
        "deploy: { http: { promote: { url: 'ftp://a.test' } } }",
        "deploy: { http: { promote: { url: 'https://user:hunter2@a.test/x' } } }",
        "deploy: { http: { promote: { url: 'https://a.test/{{ digets }}' } } }",
        "deploy: { http: { promote: { url: 'https://a.test/{{ response.id }}' } } }",
        "deploy: { http: { promote: { url: 'https://a.test/{{ vars.site' } } }",
        "deploy: { http: { promote: { url: 'https://a.test', method: GET, json: {} } } }",
        "deploy: { http: { promote: { url: 'https://a.test', method: FETCH } } }",
        "deploy: { http: { promote: { url: 'https://a.test', json: {}, form: {} } } }",
        "deploy: { http: { promote: { url: 'https://a.test', json: { a: [ok, \"{{ nope }}\"], b: \"x ${TOKEN}\" } } } }",
        "deploy: { http: { promote: { url: 'https://a.test', accept: [] } } }",
        "deploy: { http: { promote: { url: 'https://a.test', accept: [ok, 999] } } }",
        "deploy: { http: { promote: { url: 'https://a.test' }, status: { url: 'https://a.test', state: status, success: [DONE], failure: [done] } } }",
        "deploy: { http: { promote: { url: 'https://a.test' }, status: { url: 'https://a.test', state: /s, success: [], failure: [x], every: 1h } } }",
        "deploy: { http: { promote: { url: 'https://a.test' }, running: { url: 'https://a.test' } } }",
        "deploy: { http: { promote: { url: 'https://a.test' }, bearer: '${A}', basic: { user: '${A}', password: '${B}' } } }",
        "deploy: { http: { promote: { url: 'https://a.test' }, headers: { 'x y': a } } }",
        "deploy: { workflow: { inputs: { a: b } } }",
        "deploy: { workflow: { file: a.yml, payload: { a: b } } }",
        "deploy: { workflow: { event: x, ref: main, rollback: { event: y, inputs: { a: b } } } }",
        "deploy: { workflow: { file: a.yml, repository: acme/other } }",
        "deploy: { workflow: { file: a.yml, repository: other, inputs: { token: \"${TOKEN}\" } } }",
        "deploy: { workflow: { event: x, payload: { a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1, j: 1, k: 1 } } }",
        "deploy: { workflow: { file: a.yml, every: 1h } }",
        "deploy: { compose: {} }",
        "deploy: { compose: { hosts: [], user: a, key: '${K}', host-keys: ['MD5:aa'], directory: /, port: 70000 } }",
        "deploy: { compose: { hosts: h, user: a, key: '${K}', host-keys: ['SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8'], directory: /, image-variable: A, env: { B: c } } }",
        "deploy: { compose: { hosts: h, user: a, key: '${K}', host-keys: ['SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8'], directory: /, file: a.yml, commands: { deploy: [a] } } }",
        "deploy: { compose: { hosts: h, user: a, key: '${K}', host-keys: ['SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8'], directory: /, service: x, commands: { deploy: [sh, -c, 'up {{ digest }}'], running: [a] } } }",
        "deploy: { lambda: { function: f, expect: { status: ok }, shift: { steps: [50%, 10%] } } }",
        "deploy: { lambda: { function: f, expect: { $.status: ok }, shift: { steps: [10%, 101%] } } }",
        "deploy: { lambda: { function: f, expect: { $.status: ok }, shift: { steps: [10%] } } }",
        "deploy: { lambda: { function: f, role: deploy, package: { s3: bucket/key } } }",
        "deploy: { lambda: { function: f, package: { version: 3 } } }",
        "deploy: { command: { run: [] } }",
        "deploy: { command: { run: ./deploy } }",
        "deploy: { command: { run: [bash, -ec, 'deploy {{ vars.site }}'], env: { 1A: x } } }",
        "deploy: { command: { run: [bash, -ec, 'deploy {{ vars.site }}'] } }",
        "deploy: { command: { run: [a], env: { A: \"prefix-${TOKEN}\" } } }",
        "migrate: { prisma: a }",
        "migrate: { prisma: a, sqlx: b, database: '${A}' }",
        "migrate: { command: [a], database: '${A}' }",
        "migrate: { sql: a, env: { A: b }, database: '${A}' }",
    ]));
}

#[test]
fn health() {
    assert_told!(told_of([
        "health: { timeout: 10m }",
        "health: { monitor: {} }",
        "health: { readiness: { identity: true }, probes: { a: { tcp: 'a:1' } } }",
        "health: { retries: 0, interval: 0s }",
        "health: { probes: { a: {} } }",
        "health: { probes: { a: { url: 'https://a.test', tcp: 'a:1' } } }",
        "health: { probes: { a: { tcp: a } } }",
        "health: { probes: { a: { tcp: 'a:1', status: 200, headers: {} } } }",
        "health: { probes: { a: { url: 'https://a.test', status: 20x } } }",
        "health: { probes: { a: { url: 'https://a.test', body: { status: ok } } } }",
        "health: { probes: { a: { url: 'https://a.test', body: { '$.[': ok } } } }",
        "health: { probes: { a: { url: 'https://a.test', pattern: '[' } } }",
        "health: { probes: { a: { url: 'https://a.test', headers: { authorization: 'Bearer ${TOKEN}' } } } }",
        "health: { probes: { a: { url: 'https://a.test', identity: {} } } }",
        "health: { probes: { a: { url: 'https://a.test', identity: { header: x, json: $.a } } } }",
        "health: { probes: { a: { url: 'https://a.test', identity: { header: x, expect: '{{ fencing_token }}' } } } }",
        "health: { probes: { 'a b': { tcp: 'a:1' } } }",
        "health: { probes: { a: { postgres: 'postgres://user:hunter2@db/app' } } }",
        "health: { probes: { a: { lambda: f, region: europe } } }",
        "health: { smoke: [{ name: a, url: 'https://a.test/{{ captured.token }}' }] }",
        "health: { smoke: [{ name: a, url: 'https://a.test', capture: { token: $.t } }, { name: a, url: 'https://a.test/{{ captured.tokn }}' }] }",
        "health: { smoke: [{ url: 'https://a.test' }] }",
        "health: { probes: { a: { tcp: 'a:1' } }, monitor: { success-rate: 95 } }",
        "health: { probes: { a: { tcp: 'a:1' } }, monitor: { success-rate: 101% } }",
        "health: { probes: { a: { tcp: 'a:1' } }, monitor: { for: 10s, every: 30s } }",
        "health: { probes: { a: { tcp: 'a:1' } }, monitor: { consecutive-failure: 3 } }",
        "health: { probes: { a: { tcp: 'a:1' } }, monitor: { latency: { factor: 0.5 } } }",
        "rollback: { automatic: maybe }",
        "rollback: { escalate: [oncall] }",
    ]));
}

#[test]
fn channels() {
    let notify = |body: &str| with_production("rollback: { escalate: [onkall] }") + "notify:\n  oncall: " + body + "\n";
    assert_told!(told(
        [
            "{ slack: '${A}' }",
            "{}",
            "{ slack: '${A}', teams: '${B}' }",
            "{ slack: 'https://hooks.slack.com/services/T0/B0/hunter2' }",
            "{ slack: '${A}', channel: '#x' }",
            "{ slack-bot: '${A}' }",
            "{ brevo: '${A}', from: Deploy <deploy@acme.test> }",
            "{ smtp: { host: 'mail:25', security: none, user: '${A}', password: '${B}' }, from: a@b.test, to: [] }",
            "{ smtp: { host: mail, user: '${A}' }, from: a@b.test, to: c@d.test }",
            "{ github: { pull-request: false } }",
            "{ slack: '${A}', on: [succeded], at-least: high }",
            "{ slack: '${A}', on: [succeeded], at-least: high }",
            "{ slack: '${A}', on: [] }",
            "{ slack: '${A}', at-least: severe }",
            "{ slack: '${A}', environments: [prod] }",
            "{ slack: '${A}', templates: { succeeded: '{{ servce }}' } }",
            "{ pagerduty: '${A}', hmac: '${B}' }",
        ]
        .map(notify)
    ));
}

#[test]
fn a_value_in_a_secrets_place_is_never_shown() {
    let places = [
        "migrate: { prisma: a, database: VALUE }",
        "deploy: { http: { bearer: VALUE, promote: { url: 'https://a.test' } } }",
        "deploy: { http: { oauth: { token-url: 'https://a.test', client-id: '${A}', client-secret: VALUE }, promote: { url: 'https://a.test' } } }",
        "deploy: { http: { oauth: VALUE, promote: { url: 'https://a.test' } } }",
        "deploy: { http: { headers: { Authorization: VALUE }, promote: { url: 'https://a.test' } } }",
        "deploy: { http: { promote: { url: 'https://a.test', headers: { x-api-key: VALUE } } } }",
        "deploy: { compose: { key: VALUE } }",
        "health: { probes: { a: { postgres: VALUE } } }",
        "health: { probes: { a: { redis: VALUE } } }",
        "health: { probes: { a: { url: 'https://user:VALUE@a.test' } } }",
    ];
    let values = ["hunter2", "'hunter2 ${A}'", "[hunter2]", "{ hunter2: hunter2 }", "'${hunter2}'", "'${{ hunter2 }}'"];
    for place in places {
        for value in values {
            if place.contains("oauth: VALUE") && value.starts_with('{') {
                continue; // its keys are keys: they are named
            }
            let told = refused(&with_production(&place.replace("VALUE", value)));
            assert!(!told.contains("hunter2"), "{place} {value}: {told}");
        }
    }
    assert_told!(told_of([
        "migrate: { prisma: a, database: 'postgres://user:hunter2@db/app' }",
        "migrate: { prisma: a, database: '${DATABASE_URL}?sslmode=require' }",
        "migrate: { prisma: a, database: '${{ secrets.DATABASE_URL }}' }",
        "migrate: { prisma: a, database: '${database_url}' }",
        "migrate: { prisma: a, database: '' }",
        "migrate: { prisma: a, database: }",
        "migrate: { prisma: a, database: 5432 }",
    ]));
}

#[test]
fn an_error_in_an_override_is_told_where_it_was_written() {
    let over = |body: &str| {
        with_production("health: { deadline: 5m, probes: { a: { tcp: 'a:1' } } }")
            .replace("api }", &format!("api, environments: {{ production: {{ {body} }} }} }}"))
    };
    assert_told!(told([
        over("health: { timeout: 10m }"),
        over("health: { probes: { a: { status: 200 } } }"),
        over("health: { probes: { b: {} } }"),
        over("tag: staging"),
        over("from: stagging"),
        over("gates: { soak: soon }"),
        over("gates:"),
        over("rollback: { escalate: [nobody] }"),
        over("deploy: { compose: { hosts: a } }"),
    ]));
}

#[test]
fn all_errors_are_told_together_in_the_order_of_the_file() {
    let text = "version: 1
services:
  api: { image: ghcr.io/acme/api, needs: [databse], environments: { prod: { gates: { soak: 2 } } } }
  database: {}
environments:
  prod:
    from: dev
    tag: prod
    gates:
      soak: 1
      freeze:
        - weekly: never
        - { from: 2026-12-24, until: 2026-12-23, timezone: Mars/Olympus }
    health: { settle: 5 s, timeout: 7 parsecs, probes: { a: { url: localhost } } }
    rollback: { escalate: [nobody] }
retry: { attempts: 100 }
notify:
  a: { slack: '${A}', environments: [production] }
";
    assert_told!(refused(&text.replace("soak: 2 ", "soak: 2x ").replace("soak: 1\n", "soak: 1x\n")));
    let many = with_production(&format!("immutable-tags: [{}]", "'a b', ".repeat(80)));
    let errors = Configuration::parse("tidegate.yml", &many).unwrap_err();
    assert_eq!(errors.iter().count(), 50);
    assert!(errors.to_string().ends_with("and 30 more of them"), "{errors}");
}

#[test]
fn the_fault_of_an_error_is_its_own() {
    let code = |text: &str| Fault::from(Configuration::parse("tidegate.yml", text).unwrap_err()).code;
    assert_eq!(code(&with_production("").replace("tag: production", "tag: staging")), Code::SourceIsTarget);
    assert_eq!(code(&with_production("gates: { soak: x }")), Code::ConfigurationInvalid);
    let fault = Fault::from(Configuration::parse("tidegate.yml", &with_production("gates: { soak: x }")).unwrap_err());
    assert!(!fault.message.contains("fix:") && fault.fix.contains("duration"), "{fault:?}");
}
