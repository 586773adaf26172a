//! Migrations of an application's database, on PostgreSQL.

use std::fmt::Write as _;

use testbed::postgres::{Database, Postgres};
use testbed::runner::Runner;
use tidegate::promotion::act::{Act, Outcome};

use crate::scene::{Scene, small};

/// A promotion with a database and a program that is deployed after it.
struct Place {
    database: Database,
    scene: Scene,
}

fn configuration(tool: &str) -> String {
    format!(
        r#"version: 1
services:
  api: {{ image: "{{here}}/acme/api" }}
environments:
  staging: {{ tag: staging }}
  production:
    from: staging
    tag: production
    migrate: {{ {tool}, database: "${{DATABASE_URL}}", lock-timeout: 300ms }}
    deploy: {{ command: {{ run: [sh, -c, "echo \"$1\" >deployed", run, "{{{{ digest }}}}"] }} }}
"#
    )
}

impl Place {
    fn new(tool: &str) -> Self {
        let database = Postgres::shared().database();
        let scene = Scene::new().configured(&configuration(tool));
        scene.place(&small(9), "acme/api", &["production"]);
        scene.place(&small(1), "acme/api", &["staging"]);
        Self { database, scene }
    }

    fn step(&self, run: &str) -> Runner {
        self.scene.production().env("DATABASE_URL", &self.database.url()).env("GITHUB_RUN_ID", run)
    }

    fn prisma(&self, name: &str, script: &str) {
        let _ = self.scene.step().file(&format!("prisma/migrations/{name}/migration.sql"), script);
    }

    fn file(&self, path: &str, text: &str) {
        let _ = self.scene.step().file(path, text);
    }

    fn deployed(&self) -> bool {
        self.scene.step().workspace().join("deployed").exists()
    }

    fn psql(&self, sql: &str) -> String {
        self.database.psql(sql).trim().to_owned()
    }
}

const PRISMA: &str = "prisma: prisma/migrations";

/// Twenty migrations as an application grows them.
fn twenty(place: &Place) {
    place.file("prisma/migrations/migration_lock.toml", "# Please do not edit\nprovider = \"postgresql\"\n");
    let mut scripts: Vec<(String, String)> = vec![
        ("init".into(), "CREATE TYPE \"Role\" AS ENUM ('USER', 'ADMIN');\nCREATE TABLE \"User\" (\"id\" SERIAL NOT NULL, \"email\" TEXT NOT NULL, \"role\" \"Role\" NOT NULL DEFAULT 'USER', CONSTRAINT \"User_pkey\" PRIMARY KEY (\"id\"));\n".into()),
        ("user_email_key".into(), "CREATE UNIQUE INDEX \"User_email_key\" ON \"User\"(\"email\");".into()),
        ("function".into(), "CREATE FUNCTION touch() RETURNS trigger AS $$ BEGIN NEW.email := lower(NEW.email); RETURN NEW; END; $$ LANGUAGE plpgsql;\nCREATE TRIGGER touch BEFORE INSERT ON \"User\" FOR EACH ROW EXECUTE FUNCTION touch();".into()),
        ("enum_value".into(), "ALTER TYPE \"Role\" ADD VALUE 'OWNER';".into()),
        ("enum_use".into(), "ALTER TABLE \"User\" ALTER COLUMN \"role\" SET DEFAULT 'OWNER';".into()),
        ("concurrently".into(), "CREATE INDEX CONCURRENTLY \"User_role_idx\" ON \"User\"(\"role\");".into()),
    ];
    for number in 0..14 {
        scripts.push((format!("table_{number}"), format!("CREATE TABLE \"T{number}\" (\"id\" INTEGER PRIMARY KEY);\r\nALTER TABLE \"T{number}\" ADD COLUMN \"note\" TEXT;\n")));
    }
    for (number, (name, script)) in scripts.iter().enumerate() {
        place.prisma(&format!("202401{:02}000000_{name}", number + 1), script);
    }
}

#[test]
fn twenty_migrations_of_prisma_are_applied_before_the_deployment() {
    let place = Place::new(PRISMA);
    twenty(&place);
    let visit = place.scene.visit(&place.step("1"));
    visit.succeeded();
    assert!(place.deployed());
    let rows = "SELECT count(*), count(finished_at), sum(applied_steps_count), count(logs), count(DISTINCT id) FROM _prisma_migrations";
    assert_eq!(place.psql(rows), "20|20|20|0|20");
    let order = place.psql("SELECT string_agg(migration_name, ',' ORDER BY started_at) FROM _prisma_migrations");
    let mut sorted: Vec<&str> = order.split(',').collect();
    sorted.sort_unstable();
    assert_eq!(sorted.join(","), order);
    // The checksum is that of the bytes, carriage returns too.
    let text =
        std::fs::read(place.scene.step().workspace().join("prisma/migrations/20240107000000_table_0/migration.sql"))
            .unwrap();
    let digest = tidegate::promotion::digest::Digest::sha256(&text);
    let kept = place.psql("SELECT checksum FROM _prisma_migrations WHERE migration_name = '20240107000000_table_0'");
    assert_eq!(kept, digest.hex());
    assert_eq!(
        place.psql("INSERT INTO \"User\" (email) VALUES ('A@B') RETURNING email, role").lines().next(),
        Some("a@b|OWNER")
    );
    // The plan was bound to the files, and what was applied is on record with what it means for going back.
    let run = place.scene.run();
    assert_eq!(run.plan.as_ref().unwrap().0.inputs.len(), 21);
    let record = visit.record().unwrap();
    assert_eq!(record["migrations"][0]["applied"].as_array().unwrap().len(), 20);
    assert!(visit.summary().contains("is not possible, because"), "{}", visit.summary());
    let log = place.scene.folder().join(run.id.as_str()).join(format!("migration-{}.log", run.id));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("Applying migration") && log.contains("successfully applied"), "{log}");
    // Again: nothing to do.
    place.scene.visit(&place.step("2")).succeeded();
    // One more migration is something to do, although the image is the same.
    place.prisma("20240201000000_more", "ALTER TABLE \"User\" ADD COLUMN \"name\" TEXT;");
    let visit = place.scene.visit(&place.step("3"));
    visit.succeeded();
    assert_eq!(visit.record().unwrap()["migrations"][0]["applied"], serde_json::json!(["20240201000000_more"]));
    place.scene.assert_sound();
}

#[test]
fn a_migration_that_fails_stops_everything_after_it() {
    for (script, left) in [
        ("CREATE TABLE half (id int);\nSELECT nothing FROM nowhere;", "f"),
        // With a transaction of its own the first part stays.
        ("BEGIN;\nCREATE TABLE half (id int);\nCOMMIT;\nSELECT nothing FROM nowhere;", "t"),
    ] {
        let place = Place::new(PRISMA);
        place.prisma("1_good", "CREATE TABLE good (id int);");
        place.prisma("2_bad", script);
        place.prisma("3_never", "CREATE TABLE never (id int);");
        let visit = place.scene.visit(&place.step("1"));
        visit.was_stopped(
            4,
            "migration-failed",
            &["P3018", "Migration name: 2_bad", "42P01", "prisma migrate resolve"],
        );
        assert!(!place.deployed());
        assert_eq!(visit.output("failed-stage"), "migration");
        let there =
            "SELECT to_regclass('good') IS NOT NULL, to_regclass('half') IS NOT NULL, to_regclass('never') IS NOT NULL";
        assert_eq!(place.psql(there), format!("t|{left}|f"));
        assert!(place.psql("SELECT logs FROM _prisma_migrations WHERE finished_at IS NULL").contains("nowhere"));
        // The next one meets what Prisma calls P3009, before anything is changed.
        let next = place.scene.visit(&place.step("2"));
        next.was_stopped(1, "migration-failed", &["P3009", "`2_bad` migration started at", "look first whether"]);
        assert_eq!(next.output("failed-stage"), "conditions");
        place.psql("UPDATE _prisma_migrations SET rolled_back_at = now() WHERE migration_name = '2_bad'");
        place.prisma("2_bad", "CREATE TABLE IF NOT EXISTS half (id int);");
        place.scene.visit(&place.step("3")).succeeded();
        assert_eq!(place.psql(there), "t|t|t");
        place.scene.assert_sound();
    }
}

#[test]
fn what_prisma_refuses_is_refused_with_its_codes() {
    let place = Place::new(PRISMA);
    place.prisma("1_good", "CREATE TABLE good (id int);");
    place.psql("CREATE TABLE theirs (id int)");
    place.scene.visit(&place.step("1")).was_stopped(1, "migration-failed", &["P3005", "not empty"]);
    place.psql("DROP TABLE theirs");
    place.file("prisma/migrations/migration_lock.toml", "provider = \"mysql\"");
    place.scene.visit(&place.step("2")).was_stopped(1, "migrations-unreadable", &["P3019", "mysql"]);
    place.file("prisma/migrations/migration_lock.toml", "provider = \"postgresql\"");
    place.file("prisma/migrations/2_empty/notes.txt", "no script");
    place.scene.visit(&place.step("3")).was_stopped(1, "migrations-unreadable", &["P3015", "2_empty/migration.sql"]);
    assert_eq!(place.psql("SELECT to_regclass('good') IS NOT NULL"), "f");
    std::fs::remove_dir_all(place.scene.step().workspace().join("prisma/migrations/2_empty")).unwrap();
    // Somebody else migrates.
    let mut holder = std::process::Command::new("psql")
        .arg(place.database.url())
        .args(["-qc", "SELECT pg_advisory_lock(72707369); SELECT pg_sleep(60)"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let locked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = 72707369 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while place.psql(locked) != "1" {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let visit = place.scene.visit(&place.step("4"));
    visit.was_stopped(4, "migrations-locked", &["P1002", "SELECT pg_advisory_lock(72707369)", "Timeout: 300ms"]);
    // Its session goes on without it.
    place.psql("SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND objid = 72707369 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())");
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(!place.deployed());
    place.scene.visit(&place.step("5")).succeeded();
    // Edited and removed ones are passed over, with a warning.
    place.prisma("1_good", "CREATE TABLE good (id bigint);");
    place.prisma("2_new", "ALTER TABLE good ADD COLUMN a int;");
    let visit = place.scene.visit(&place.step("6"));
    visit.succeeded();
    assert!(visit.annotations("warning").iter().any(|text| text.contains("1_good was edited")), "{visit:?}");
    std::fs::remove_dir_all(place.scene.step().workspace().join("prisma/migrations/1_good")).unwrap();
    place.prisma("3_new", "ALTER TABLE good ADD COLUMN b int;");
    let visit = place.scene.visit(&place.step("7"));
    assert!(
        visit.annotations("warning").iter().any(|text| text.contains("1_good is applied, and is not in")),
        "{visit:?}"
    );
    place.scene.assert_sound();
}

#[test]
fn another_checkout_than_that_of_the_plan_is_refused() {
    let place = Place::new(PRISMA);
    place.prisma("1_good", "CREATE TABLE good (id int);");
    place.scene.visit(&place.step("1").input("until", "conditions"));
    place.prisma("1_good", "DROP TABLE users;");
    let visit = place.scene.visit(&place.step("1"));
    visit.was_stopped(3, "plan-changed", &["1_good/migration.sql", "is not what it was"]);
    assert_eq!(place.psql("SELECT to_regclass('good') IS NOT NULL"), "f");
}

#[test]
fn sqlx_keeps_its_own_books() {
    let place = Place::new("sqlx: migrations");
    place.file("migrations/1_users.sql", "CREATE TABLE users (id int);");
    place.file("migrations/2_index.sql", "-- no-transaction\nCREATE INDEX CONCURRENTLY users_id ON users (id);");
    place.scene.visit(&place.step("1")).succeeded();
    let rows =
        "SELECT version, description, success, length(checksum), execution_time > 0 FROM _sqlx_migrations ORDER BY 1";
    assert_eq!(place.psql(rows), "1|users|t|48|t\n2|index|t|48|t");
    place.file("migrations/1_users.sql", "CREATE TABLE users (id bigint);");
    let visit = place.scene.visit(&place.step("2"));
    visit.was_stopped(1, "migrations-unreadable", &["migration 1 was previously applied but has been modified"]);
    place.file("migrations/1_users.sql", "CREATE TABLE users (id int);");
    place.file("migrations/3_bad.sql", "CREATE TABLE half (id int); SELECT nothing FROM nowhere;");
    place.scene.visit(&place.step("3")).was_stopped(1, "migration-failed", &["nowhere"]);
    assert_eq!(place.psql("SELECT to_regclass('half') IS NOT NULL"), "f");
}

#[test]
fn numbered_files_are_applied_once_and_whole() {
    let place = Place::new("sql: db");
    place.file("db/002_more.sql", "ALTER TABLE t ADD COLUMN b int;");
    place.file("db/001_first.sql", "CREATE TABLE t (a int);");
    place.file("db/10_index.sql", "-- no-transaction\nCREATE INDEX CONCURRENTLY i ON t (a);");
    place.scene.visit(&place.step("1")).succeeded();
    let rows = "SELECT number, name, whole FROM tidegate_migrations.migration ORDER BY 1";
    assert_eq!(place.psql(rows), "1|001_first.sql|t\n2|002_more.sql|t\n10|10_index.sql|t");
    // Nothing of ours is among the application's tables.
    assert_eq!(place.psql("SELECT string_agg(tablename, ',') FROM pg_tables WHERE schemaname = 'public'"), "t");
    place.file("db/11_bad.sql", "CREATE TABLE half (id int); SELECT nothing FROM nowhere;");
    place.scene.visit(&place.step("2")).was_stopped(1, "migration-failed", &["11_bad.sql", "42P01"]);
    assert_eq!(place.psql("SELECT to_regclass('half') IS NOT NULL"), "f");
    place.file("db/11_bad.sql", "-- no-transaction\nVACUUM nowhere;");
    place.scene.visit(&place.step("3")).was_stopped(1, "migration-failed", &["11_bad.sql"]);
    place.scene.visit(&place.step("4")).was_stopped(1, "migration-failed", &["may be there in part"]);
    place.file("db/x.sql", "");
    place.scene.visit(&place.step("5")).was_stopped(1, "migrations-unreadable", &["does not begin with a number"]);
}

#[test]
fn a_program_migrates_where_nothing_else_does() {
    let tool = "command: [sh, -c, 'echo \"migrating $LEVEL\"; [ ! -e stop ] || { echo no >&2; exit 4; }'], env: { LEVEL: all }";
    let text = configuration(tool).replace(", database: \"${DATABASE_URL}\", lock-timeout: 300ms", "");
    let place = Place::new(PRISMA);
    place.scene.configure(&text);
    place.file("stop", "");
    place.scene.visit(&place.step("1")).was_stopped(4, "migration-failed", &["ended with 4: no"]);
    assert!(!place.deployed());
    std::fs::remove_file(place.scene.step().workspace().join("stop")).unwrap();
    let visit = place.scene.visit(&place.step("2"));
    visit.succeeded();
    assert!(visit.summary().contains("does to the database is not known"), "{}", visit.summary());
}

#[test]
fn a_runner_that_is_killed_while_it_migrates_leaves_what_prisma_would() {
    let like = Place::new(PRISMA);
    let fill = |place: &Place| {
        for number in 1..4 {
            place.prisma(&format!("{number}_table"), &format!("CREATE TABLE t{number} (id int);"));
        }
    };
    fill(&like);
    let log = like.scene.step().workspace().join("crash.log");
    like.scene.visit(&like.step("1").env("TIDEGATE_CRASH_LOG", log.to_str().unwrap())).succeeded();
    let text = std::fs::read_to_string(log).unwrap();
    let points: Vec<usize> =
        text.lines().enumerate().filter(|(_, line)| line.contains("database ")).map(|(place, _)| place + 1).collect();
    let mut seen = String::new();
    for point in points.iter().skip(4).step_by(5) {
        let place = Place::new(PRISMA);
        fill(&place);
        place.scene.finish(place.step("1").env("TIDEGATE_CRASH_AT", &point.to_string()).start());
        let visit = place.scene.finish(place.step("1").env("GITHUB_RUN_ATTEMPT", "2").start());
        let unfinished = place.psql("SELECT count(*) FROM _prisma_migrations WHERE finished_at IS NULL");
        // A migration that was begun and has no end is for a person to look at; all else goes on.
        if unfinished == "0" {
            visit.succeeded();
        } else {
            visit.was_stopped(4, "migration-failed", &["P3009", "a runner that was stopped"]);
            let run = place.scene.run();
            let migrate = run.intents.values().find(|one| matches!(one.act, Act::Migrate { .. })).unwrap();
            assert!(matches!(migrate.outcome, Some(Outcome::Failed { .. })));
        }
        let _ = write!(seen, "{unfinished}");
        place.scene.assert_sound();
    }
    assert!(seen.contains('0') && seen.contains('1'), "{seen}");
}
