//! What the pages tell people to do, done.

use testbed::github::GitHub;
use testbed::image::Image;
use testbed::postgres::Postgres;
use testbed::registry::Registry;
use testbed::runner::Runner;
use workflow::{Machine, Verdict};

use super::{PROGRAM, root};

const FILE: &str = ".github/workflows/page.yml";

/// The workflows of a page that have jobs, made whole and of this registry.
fn workflows(page: &str, registry: &Registry) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(page)).unwrap();
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks
        .filter(|block| block.starts_with("jobs:") || block.contains("\njobs:"))
        .map(|block| {
            let on = if block.contains("\non:") || block.starts_with("on:") { "" } else { "on: workflow_dispatch\n" };
            let whole = format!("{on}{block}").replace("ghcr.io", &registry.host());
            whole.replace("@<commit>", &format!("@{}", "a".repeat(40)))
        })
        .collect()
}

fn registry_with(number: u64) -> Registry {
    let registry = Registry::start();
    Image::index(&["linux/amd64", "linux/arm64"]).seed(number).build().place(
        registry.contents(),
        "acme/api",
        &["staging"],
    );
    registry
}

#[test]
fn a_run_goes_on_in_another_job() {
    let registry = registry_with(1);
    let (database, github) = (Postgres::shared().database(), GitHub::start());
    let [text] = workflows("docs/resuming.md", &registry).try_into().unwrap();
    let machine = Machine::new(root(), "tidegate/tidegate", PROGRAM).on(&github).file(FILE, text);
    let run = machine.secret("DATABASE_URL", &database.url()).dispatch(FILE, &[]);
    assert_eq!(run.results(), ["check: success", "promote: success"], "{run}");
    assert!(registry.contents().digest("acme/api", "production").is_some());
    // It is one run, in two visits.
    assert_eq!(database.psql("select count(*) from tidegate.run"), "1");
    assert_eq!(database.psql("select token from tidegate.lease"), "2", "{run}");
}

#[test]
fn a_database_is_set_up_with_the_least_rights() {
    let registry = registry_with(2);
    let (database, github) = (Postgres::shared().database(), GitHub::start());
    // The first promotion is an owner's, on a command line.
    let image = format!("{}/acme/api:staging", registry.host());
    let words = ["promote", "--image", &image, "--to", "first", "--database-url", &database.url()];
    let made = Runner::outside_actions(PROGRAM).arguments(&words).run();
    assert!(made.is_success(), "{made}");
    let role = database.name().replace("test", "writer");
    database.cluster().superuser(&format!("CREATE ROLE {role} LOGIN PASSWORD 'nothing'"));
    let grants = std::fs::read_to_string(root().join("migrations/postgres/grants.sql")).unwrap();
    database.psql(&grants.replace("tidegate_writer", &role));
    // From then on with the role.
    let [text] = workflows("docs/database.md", &registry).try_into().unwrap();
    let machine = Machine::new(root(), "tidegate/tidegate", PROGRAM).on(&github).file(FILE, text);
    let url = format!("postgres://{role}:nothing@127.0.0.1:{}/{}", database.port(), database.name());
    let machine = machine.secret("DATABASE_URL", &url);
    for _ in 0..2 {
        let run = machine.dispatch(FILE, &[]);
        assert_eq!(run.result(), Verdict::Success, "{run}");
    }
    for operation in ["audit", "recover"] {
        let ended = Runner::outside_actions(PROGRAM).arguments(&[operation, "--database-url", &url]).run();
        assert!(ended.is_success(), "{ended}");
    }
    // The query of the page.
    let text = std::fs::read_to_string(root().join("docs/database.md")).unwrap();
    let query = text.split("```sql\n").find(|block| block.starts_with("SELECT")).unwrap().split("```").next().unwrap();
    assert_eq!(database.psql(&query.replace("'api'", "'acme/api'")).lines().count(), 3, "{query}");
    // The past cannot be changed with it.
    let denied =
        database.psql(&format!("select has_table_privilege('{role}', 'tidegate.event', 'update, delete, truncate')"));
    assert_eq!(denied, "f");
}

#[test]
fn a_promotion_on_the_command_line() {
    let registry = registry_with(3);
    let image = format!("{}/acme/api:staging", registry.host());
    let program = Runner::outside_actions(PROGRAM);
    let plan = program.clone().arguments(&["plan", "--image", &image, "--to", "production"]).run();
    assert!(plan.is_success(), "{plan}");
    assert_eq!(registry.contents().digest("acme/api", "production"), None);
    let promoted = program.arguments(&["promote", "--image", &image, "--to", "production"]).run();
    assert!(promoted.is_success(), "{promoted}");
    assert!(registry.contents().digest("acme/api", "production").is_some());
}
