-- Everything here is made from `event`, in the transaction that adds the event, and can be dropped: `rebuild` makes
-- what is missing again by running this file. So every statement does nothing where its object is there.

-- One row a run: its head, and what it is now.
CREATE TABLE IF NOT EXISTS run (
    id TEXT PRIMARY KEY,
    key TEXT,
    scope TEXT NOT NULL,
    environment TEXT NOT NULL,
    operation TEXT NOT NULL
        CHECK (operation IN ('promote', 'plan', 'rollback', 'verify', 'recover', 'report', 'audit', 'watch', 'notify')),
    requestor TEXT NOT NULL,
    actor TEXT,
    reason TEXT,
    commit_id TEXT,
    git_ref TEXT,
    workflow_run TEXT,
    rolls_back TEXT,
    state TEXT NOT NULL CHECK (state IN (
        'initializing', 'validating-conditions', 'pending-approval', 'approval-granted', 'validation-running',
        'validation-passed', 'validation-failed', 'promotion-running', 'promotion-retrying', 'promotion-failed',
        'promotion-succeeded', 'migrating', 'triggering-deployment', 'verifying', 'rolling-back', 'rolled-back',
        'rollback-failed', 'generating-reports', 'notifications-sent', 'completed-successfully', 'failed',
        'cancelled', 'rejected', 'inconclusive', 'interrupted'
    )),
    seq INTEGER NOT NULL,
    head TEXT NOT NULL,
    changed_the_world INTEGER NOT NULL CHECK (changed_the_world IN (0, 1)),
    open_intents INTEGER NOT NULL,
    opened_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    ended_at TEXT,
    exit_code INTEGER,
    reason_code TEXT,
    comments TEXT NOT NULL
) STRICT;

-- A key has one run that is not over. Runs of an environment are opened one after the other.
CREATE UNIQUE INDEX IF NOT EXISTS run_unfinished_key ON run (key) WHERE ended_at IS NULL;
CREATE INDEX IF NOT EXISTS run_key ON run (key, opened_at);
CREATE UNIQUE INDEX IF NOT EXISTS run_order ON run (scope, environment, opened_at);

-- One row for each service of a run.
CREATE TABLE IF NOT EXISTS candidate (
    run TEXT NOT NULL,
    service TEXT NOT NULL,
    place INTEGER NOT NULL,
    scope TEXT NOT NULL,
    environment TEXT NOT NULL,
    sequence INTEGER,
    version TEXT NOT NULL,
    digest TEXT,
    previous TEXT,
    moved INTEGER NOT NULL CHECK (moved IN (0, 1)),
    status TEXT NOT NULL CHECK (status IN ('', 'SUCCESS', 'FAILURE')),
    PRIMARY KEY (run, service)
) STRICT;

-- No number is ever given twice.
CREATE UNIQUE INDEX IF NOT EXISTS candidate_sequence ON candidate (scope, environment, service, sequence);

-- What went wrong.
CREATE TABLE IF NOT EXISTS fault (
    run TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at TEXT NOT NULL,
    stage TEXT,
    service TEXT,
    code TEXT NOT NULL,
    category TEXT NOT NULL CHECK (category IN
        ('validation', 'network', 'authentication', 'registry', 'docker', 'permission', 'timeout', 'unknown')),
    severity TEXT NOT NULL CHECK (severity IN ('critical', 'high', 'medium', 'low')),
    message TEXT NOT NULL,
    fix TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT;

-- Digests that turned out bad in an environment.
CREATE TABLE IF NOT EXISTS bad_digest (
    run TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at TEXT NOT NULL,
    scope TEXT NOT NULL,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    digest TEXT NOT NULL,
    because TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT;

CREATE INDEX IF NOT EXISTS bad_digest_place ON bad_digest (scope, environment, service, digest);

-- One row for each environment, kept when the lease is given back so that its token never starts again.
CREATE TABLE IF NOT EXISTS lease (
    scope TEXT NOT NULL,
    environment TEXT NOT NULL,
    token INTEGER NOT NULL,
    holder TEXT,
    expires_at TEXT,
    PRIMARY KEY (scope, environment),
    CHECK ((holder IS NULL) = (expires_at IS NULL))
) STRICT;

-- The last sequence number of each service in each environment.
CREATE TABLE IF NOT EXISTS counter (
    scope TEXT NOT NULL,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    last INTEGER NOT NULL CHECK (last >= 1),
    PRIMARY KEY (scope, environment, service)
) STRICT;

-- Who is to be told what: written with the event that causes it, sent after that.
CREATE TABLE IF NOT EXISTS outbox (
    run TEXT NOT NULL,
    topic TEXT NOT NULL,
    channel TEXT NOT NULL,
    seq INTEGER NOT NULL,
    delivery TEXT CHECK (delivery IN ('sent', 'accepted', 'failed')),
    attempts INTEGER NOT NULL,
    PRIMARY KEY (run, topic, channel)
) STRICT;

-- For people and for Grafana: what was promoted and rolled back. `status` is empty while it is under way.
CREATE VIEW IF NOT EXISTS deployment_log AS
SELECT
    c.sequence AS sequence_number,
    c.service,
    c.environment,
    r.operation,
    r.requestor,
    c.version,
    c.status,
    r.comments,
    r.opened_at AS started_at,
    r.updated_at,
    r.state,
    r.id AS deployment_id,
    r.scope
FROM candidate c
JOIN run r ON r.id = c.run
WHERE r.operation IN ('promote', 'rollback');
