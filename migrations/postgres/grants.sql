-- The least that the program needs at work, for a role that owns nothing. Run it once as the owner of the schema, after
-- the schema was made by a role that may CREATE in the database; replace `tidegate_writer` by the role in `database-url`.
-- Whoever has only these rights can add to the history and never change it.
GRANT USAGE ON SCHEMA tidegate TO tidegate_writer;
GRANT SELECT ON tidegate.migration, tidegate.deployment_log TO tidegate_writer;
GRANT SELECT, INSERT ON tidegate.event TO tidegate_writer;
GRANT SELECT, INSERT, UPDATE ON
    tidegate.run, tidegate.candidate, tidegate.fault, tidegate.lease, tidegate.counter, tidegate.outbox,
    tidegate.bad_digest
    TO tidegate_writer;
