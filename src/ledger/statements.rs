//! Everything that is said to a database, in one place: static SQL, the same for both but for three words.

use super::migrate::{self, Migration};

/// The statements of the ledger for one database.
#[derive(Debug)]
pub(super) struct Statements {
    /// What makes the schema.
    pub(super) migrations: &'static [Migration],
    /// Whether the schema is there: 1 or 0.
    pub(super) schema_exists: &'static str,
    /// Whether the ledger's tables are there: 1 or 0.
    pub(super) exists: &'static str,
    /// Which of the derived tables and views are there: their number.
    pub(super) derived_count: &'static str,
    /// The newest migration that was run.
    pub(super) version: &'static str,
    /// Says that a migration was run. Two who say so of one at the same time cannot both succeed.
    pub(super) insert_version: &'static str,
    /// How the database encodes text.
    pub(super) encoding: &'static str,
    /// Makes the schema where there is none.
    pub(super) create_schema: &'static str,
    /// Makes the table of migrations.
    pub(super) create_migrations: &'static str,
    /// Keeps every other writer out until the transaction ends.
    pub(super) lock_all: &'static str,

    /// The environment's lease row, held until the transaction ends, with the time.
    pub(super) lock_environment: &'static str,
    /// The run's row and its environment's lease row, held until the transaction ends, with the time. The environment
    /// is named first, so that everybody takes the two in one order.
    pub(super) lock_run: &'static str,
    /// The newest run with a key.
    pub(super) run_by_key: &'static str,
    /// The newest run of an environment.
    pub(super) newest_run: &'static str,
    /// Takes an id for a new run; no row when it is taken.
    pub(super) claim_run: &'static str,
    /// Adds an event.
    pub(super) insert_event: &'static str,
    /// The events of a run after a place, with who wrote them.
    pub(super) events: &'static str,
    /// The ids of all runs that have events.
    pub(super) runs_with_events: &'static str,
    /// Takes the next number.
    pub(super) count: &'static str,
    /// The last number taken.
    pub(super) last_number: &'static str,
    /// Renews a lease that has not been taken over.
    pub(super) renew: &'static str,
    /// The lease of an environment that somebody holds and that has not run out.
    pub(super) lease: &'static str,
    /// Every lease that somebody holds.
    pub(super) held_leases: &'static str,
    /// Puts a lease's end back.
    pub(super) restore_lease: &'static str,
    /// Services' parts in runs.
    pub(super) past: &'static str,
    /// The ids of runs.
    pub(super) runs: &'static str,
    /// The marks of a service's bad digests, the newest first.
    pub(super) bad_digests: &'static str,
    /// The heads of runs.
    pub(super) heads: &'static str,
    /// The runs of an environment that are not over and have changed the world, or may have.
    pub(super) unsettled: &'static str,

    /// Puts a row into `run`.
    pub(super) put_run: &'static str,
    /// Puts a row into `candidate`.
    pub(super) put_candidate: &'static str,
    /// Puts a row into `fault`.
    pub(super) put_fault: &'static str,
    /// Puts a row into `bad_digest`.
    pub(super) put_bad_digest: &'static str,
    /// Puts a row into `lease`, unless it has a greater token.
    pub(super) put_lease: &'static str,
    /// Puts a row into `counter`, unless it has a greater number.
    pub(super) put_counter: &'static str,
    /// Puts a row into `outbox`.
    pub(super) put_outbox: &'static str,
    /// Empties the derived tables.
    pub(super) empty: &'static str,
}

/// The time by the database's clock, to the millisecond, is `$now`; a table is `$schema` and its name; rows are held by
/// `$lock`.
macro_rules! statements {
    (schema: $schema:literal, now: $now:literal, lock: $lock:literal, { $($own:tt)* }) => {
        Statements {
            version: concat!("SELECT coalesce(max(version), 0) FROM ", $schema, "migration"),
            insert_version: concat!("INSERT INTO ", $schema, "migration (version, name, applied_at) VALUES ($1, $2, ", $now, ")"),

            lock_environment: concat!(
                "SELECT token, ", $now, " FROM ", $schema, "lease WHERE scope = $1 AND environment = $2", $lock
            ),
            lock_run: concat!(
                "SELECT r.scope, r.environment, r.seq, r.head, l.token, l.holder, l.expires_at, ", $now,
                " FROM ", $schema, "lease l JOIN ", $schema, "run r ON r.scope = l.scope AND r.environment = l.environment",
                " WHERE r.id = $1", $lock
            ),
            run_by_key: concat!(
                "SELECT id, ended_at, state FROM ", $schema, "run WHERE key = $1 ORDER BY opened_at DESC, id DESC LIMIT 1"
            ),
            newest_run: concat!(
                "SELECT id, seq, head, opened_at FROM ", $schema, "run WHERE scope = $1 AND environment = $2",
                " ORDER BY opened_at DESC, id DESC LIMIT 1"
            ),
            claim_run: concat!(
                "INSERT INTO ", $schema, "run (id, scope, environment, operation, requestor, state, seq, head, opened_at, updated_at,",
                " changed_the_world, open_intents, comments) VALUES ($1, $2, $3, $4, $5, 'initializing', 1, $6, $7, $7, $8, 0, '')",
                " ON CONFLICT (id) DO NOTHING RETURNING id"
            ),
            insert_event: concat!(
                "INSERT INTO ", $schema, "event (run, seq, at, kind, previous, hash, text, writer)",
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
            ),
            events: concat!(
                "SELECT run, seq, at, previous, hash, text, writer FROM ", $schema, "event WHERE run = $1 AND seq > $2",
                " ORDER BY seq"
            ),
            runs_with_events: concat!("SELECT DISTINCT run FROM ", $schema, "event ORDER BY run"),
            count: concat!(
                "INSERT INTO ", $schema, "counter AS c (scope, environment, service, last) VALUES ($1, $2, $3, 1)",
                " ON CONFLICT (scope, environment, service) DO UPDATE SET last = c.last + 1 RETURNING last"
            ),
            last_number: concat!(
                "SELECT last FROM ", $schema, "counter WHERE scope = $1 AND environment = $2 AND service = $3"
            ),
            lease: concat!(
                "SELECT holder, expires_at FROM ", $schema, "lease",
                " WHERE scope = $1 AND environment = $2 AND holder IS NOT NULL AND expires_at > ", $now
            ),
            held_leases: concat!(
                "SELECT scope, environment, token, expires_at FROM ", $schema, "lease WHERE holder IS NOT NULL"
            ),
            restore_lease: concat!(
                "UPDATE ", $schema, "lease SET expires_at = $4",
                " WHERE scope = $1 AND environment = $2 AND token = $3 AND holder IS NOT NULL"
            ),
            past: concat!(
                "SELECT c.run, c.environment, c.service, c.sequence, r.operation, r.state, r.ended_at, r.changed_the_world,",
                " c.moved, c.digest, c.previous, c.version, r.rolls_back, r.opened_at, r.updated_at",
                " FROM ", $schema, "candidate c JOIN ", $schema, "run r ON r.id = c.run",
                " WHERE ($1 IS NULL OR c.scope = $1) AND ($2 IS NULL OR c.environment = $2)",
                " AND ($3 IS NULL OR c.service = $3) AND ($4 = 0 OR r.ended_at IS NULL)",
                " ORDER BY r.opened_at DESC, r.id DESC, c.place LIMIT $5"
            ),
            runs: concat!(
                "SELECT r.id FROM ", $schema, "run r",
                " WHERE ($1 IS NULL OR r.scope = $1) AND ($2 IS NULL OR r.environment = $2)",
                " AND ($3 IS NULL OR EXISTS (SELECT 1 FROM ", $schema, "candidate c WHERE c.run = r.id AND c.service = $3))",
                " AND ($4 = 0 OR r.ended_at IS NULL) ORDER BY r.opened_at DESC, r.id DESC LIMIT $5"
            ),
            bad_digests: concat!(
                "SELECT run, at, digest, because FROM ", $schema, "bad_digest",
                " WHERE scope = $1 AND environment = $2 AND service = $3 ORDER BY at DESC, run DESC, seq DESC"
            ),
            heads: concat!("SELECT id, seq, head FROM ", $schema, "run ORDER BY id"),
            unsettled: concat!(
                "SELECT id FROM ", $schema, "run WHERE scope = $1 AND environment = $2 AND ended_at IS NULL",
                " AND (changed_the_world OR open_intents > 0) ORDER BY opened_at DESC, id DESC"
            ),

            put_run: concat!(
                "INSERT INTO ", $schema, "run (id, key, scope, environment, operation, requestor, actor, reason, commit_id,",
                " git_ref, workflow_run, rolls_back, state, seq, head, changed_the_world, open_intents, opened_at, updated_at,",
                " ended_at, exit_code, reason_code, comments)",
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)",
                " ON CONFLICT (id) DO UPDATE SET key = excluded.key, scope = excluded.scope, environment = excluded.environment,",
                " operation = excluded.operation, requestor = excluded.requestor, actor = excluded.actor,",
                " reason = excluded.reason, commit_id = excluded.commit_id, git_ref = excluded.git_ref,",
                " workflow_run = excluded.workflow_run, rolls_back = excluded.rolls_back, state = excluded.state,",
                " seq = excluded.seq, head = excluded.head, changed_the_world = excluded.changed_the_world,",
                " open_intents = excluded.open_intents, opened_at = excluded.opened_at, updated_at = excluded.updated_at,",
                " ended_at = excluded.ended_at, exit_code = excluded.exit_code, reason_code = excluded.reason_code,",
                " comments = excluded.comments"
            ),
            put_candidate: concat!(
                "INSERT INTO ", $schema, "candidate (run, service, place, scope, environment, sequence, version, digest,",
                " previous, moved, status) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                " ON CONFLICT (run, service) DO UPDATE SET place = excluded.place, scope = excluded.scope,",
                " environment = excluded.environment, sequence = excluded.sequence, version = excluded.version,",
                " digest = excluded.digest, previous = excluded.previous, moved = excluded.moved, status = excluded.status"
            ),
            put_fault: concat!(
                "INSERT INTO ", $schema, "fault (run, seq, at, stage, service, code, category, severity, message, fix)",
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                " ON CONFLICT (run, seq) DO UPDATE SET at = excluded.at, stage = excluded.stage, service = excluded.service,",
                " code = excluded.code, category = excluded.category, severity = excluded.severity,",
                " message = excluded.message, fix = excluded.fix"
            ),
            put_bad_digest: concat!(
                "INSERT INTO ", $schema, "bad_digest (run, seq, at, scope, environment, service, digest, because)",
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                " ON CONFLICT (run, seq) DO UPDATE SET at = excluded.at, scope = excluded.scope,",
                " environment = excluded.environment, service = excluded.service, digest = excluded.digest,",
                " because = excluded.because"
            ),
            put_lease: concat!(
                "INSERT INTO ", $schema, "lease AS l (scope, environment, token, holder, expires_at)",
                " VALUES ($1, $2, $3, $4, $5) ON CONFLICT (scope, environment) DO UPDATE SET token = excluded.token,",
                " holder = excluded.holder, expires_at = excluded.expires_at WHERE l.token <= excluded.token"
            ),
            put_counter: concat!(
                "INSERT INTO ", $schema, "counter AS c (scope, environment, service, last) VALUES ($1, $2, $3, $4)",
                " ON CONFLICT (scope, environment, service) DO UPDATE SET last = excluded.last WHERE c.last < excluded.last"
            ),
            put_outbox: concat!(
                "INSERT INTO ", $schema, "outbox (run, topic, channel, seq, delivery, attempts) VALUES ($1, $2, $3, $4, $5, $6)",
                " ON CONFLICT (run, topic, channel) DO UPDATE SET seq = excluded.seq, delivery = excluded.delivery,",
                " attempts = excluded.attempts"
            ),
            empty: concat!(
                "DELETE FROM ", $schema, "candidate; DELETE FROM ", $schema, "fault; DELETE FROM ", $schema, "bad_digest; DELETE FROM ", $schema, "outbox;",
                " DELETE FROM ", $schema, "counter; DELETE FROM ", $schema, "lease; DELETE FROM ", $schema, "run"
            ),
            $($own)*
        }
    };
}

/// For PostgreSQL. `clock_timestamp()` goes on inside a transaction, `now()` does not.
pub(super) const POSTGRES: Statements = statements!(
    schema: "tidegate.", now: "date_trunc('milliseconds', clock_timestamp())", lock: " FOR UPDATE",
    {
        migrations: migrate::POSTGRES,
        schema_exists: "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = 'tidegate'",
        // Not information_schema: it hides what the asking role has no right to.
        exists: "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
            WHERE n.nspname = 'tidegate' AND c.relname = 'migration' AND c.relkind = 'r'",
        derived_count: "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
            WHERE n.nspname = 'tidegate' AND c.relkind IN ('r', 'v') \
            AND c.relname IN ('run', 'candidate', 'fault', 'lease', 'counter', 'outbox', 'bad_digest', 'deployment_log')",
        encoding: "SELECT current_setting('server_encoding')",
        create_schema: "CREATE SCHEMA tidegate",
        create_migrations: "CREATE TABLE tidegate.migration \
            (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at TIMESTAMPTZ NOT NULL)",
        // Every transaction that writes reads this table first.
        lock_all: "LOCK TABLE tidegate.lease IN ACCESS EXCLUSIVE MODE",
        renew: "UPDATE tidegate.lease SET expires_at = date_trunc('milliseconds', clock_timestamp()) + $4 * interval '1 millisecond' \
            WHERE scope = $1 AND environment = $2 AND token = $3 AND holder IS NOT NULL RETURNING token",
    }
);

/// For SQLite, where a transaction that writes is alone from its beginning.
pub(super) const SQLITE: Statements = statements!(
    schema: "", now: "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')", lock: "",
    {
        migrations: migrate::SQLITE,
        schema_exists: "SELECT 1",
        exists: "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'migration'",
        derived_count: "SELECT count(*) FROM sqlite_master WHERE name IN \
            ('run', 'candidate', 'fault', 'lease', 'counter', 'outbox', 'bad_digest', 'deployment_log')",
        encoding: "SELECT 'UTF8'",
        create_schema: "",
        create_migrations: "CREATE TABLE migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT",
        lock_all: "",
        renew: "UPDATE lease SET expires_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ($4 / 1000.0) || ' seconds') \
            WHERE scope = $1 AND environment = $2 AND token = $3 AND holder IS NOT NULL RETURNING token",
    }
);
