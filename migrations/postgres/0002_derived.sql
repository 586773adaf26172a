-- Everything here is made from `event`, in the transaction that adds the event, and can be dropped: `rebuild` makes
-- what is missing again by running this file. So every statement does nothing where its object is there.

-- One row a run: its head, and what it is now.
CREATE TABLE IF NOT EXISTS tidegate.run (
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
    seq BIGINT NOT NULL,
    head TEXT NOT NULL,
    changed_the_world BOOLEAN NOT NULL,
    open_intents BIGINT NOT NULL,
    opened_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ,
    exit_code BIGINT,
    reason_code TEXT,
    comments TEXT NOT NULL
);

-- A key has one run that is not over. Runs of an environment are opened one after the other.
CREATE UNIQUE INDEX IF NOT EXISTS run_unfinished_key ON tidegate.run (key) WHERE ended_at IS NULL;
CREATE INDEX IF NOT EXISTS run_key ON tidegate.run (key, opened_at);
CREATE UNIQUE INDEX IF NOT EXISTS run_order ON tidegate.run (scope, environment, opened_at);

-- One row for each service of a run.
CREATE TABLE IF NOT EXISTS tidegate.candidate (
    run TEXT NOT NULL,
    service TEXT NOT NULL,
    place BIGINT NOT NULL,
    scope TEXT NOT NULL,
    environment TEXT NOT NULL,
    sequence BIGINT,
    version TEXT NOT NULL,
    digest TEXT,
    previous TEXT,
    moved BOOLEAN NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('', 'SUCCESS', 'FAILURE')),
    PRIMARY KEY (run, service)
);

-- No number is ever given twice.
CREATE UNIQUE INDEX IF NOT EXISTS candidate_sequence ON tidegate.candidate (scope, environment, service, sequence);

-- What went wrong.
CREATE TABLE IF NOT EXISTS tidegate.fault (
    run TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    stage TEXT,
    service TEXT,
    code TEXT NOT NULL,
    category TEXT NOT NULL CHECK (category IN
        ('validation', 'network', 'authentication', 'registry', 'docker', 'permission', 'timeout', 'unknown')),
    severity TEXT NOT NULL CHECK (severity IN ('critical', 'high', 'medium', 'low')),
    message TEXT NOT NULL,
    fix TEXT NOT NULL,
    PRIMARY KEY (run, seq)
);

-- Digests that turned out bad in an environment.
CREATE TABLE IF NOT EXISTS tidegate.bad_digest (
    run TEXT NOT NULL,
    seq BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    scope TEXT NOT NULL,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    digest TEXT NOT NULL,
    because TEXT NOT NULL,
    PRIMARY KEY (run, seq)
);

CREATE INDEX IF NOT EXISTS bad_digest_place ON tidegate.bad_digest (scope, environment, service, digest);

-- One row for each environment, kept when the lease is given back so that its token never starts again.
CREATE TABLE IF NOT EXISTS tidegate.lease (
    scope TEXT NOT NULL,
    environment TEXT NOT NULL,
    token BIGINT NOT NULL,
    holder TEXT,
    expires_at TIMESTAMPTZ,
    PRIMARY KEY (scope, environment),
    CHECK ((holder IS NULL) = (expires_at IS NULL))
);

-- The last sequence number of each service in each environment.
CREATE TABLE IF NOT EXISTS tidegate.counter (
    scope TEXT NOT NULL,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    last BIGINT NOT NULL CHECK (last >= 1),
    PRIMARY KEY (scope, environment, service)
);

-- Who is to be told what: written with the event that causes it, sent after that.
CREATE TABLE IF NOT EXISTS tidegate.outbox (
    run TEXT NOT NULL,
    topic TEXT NOT NULL,
    channel TEXT NOT NULL,
    seq BIGINT NOT NULL,
    delivery TEXT CHECK (delivery IN ('sent', 'accepted', 'failed')),
    attempts BIGINT NOT NULL,
    PRIMARY KEY (run, topic, channel)
);

-- For people and for Grafana: what was promoted and rolled back. `status` is empty while it is under way.
CREATE OR REPLACE VIEW tidegate.deployment_log AS
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
FROM tidegate.candidate c
JOIN tidegate.run r ON r.id = c.run
WHERE r.operation IN ('promote', 'rollback');
