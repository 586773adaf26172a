-- The truth. Every other table is made from this one and can be made again.
CREATE TABLE tidegate.event (
    run TEXT NOT NULL,
    seq BIGINT NOT NULL CHECK (seq >= 1),
    at TIMESTAMPTZ NOT NULL,
    kind TEXT NOT NULL,
    previous TEXT NOT NULL CHECK (length(previous) = 64),
    hash TEXT NOT NULL CHECK (length(hash) = 64),
    -- The event, exactly as hashed.
    text TEXT NOT NULL,
    -- The same for reading. jsonb orders and normalises, and cannot hold NUL, so it is never hashed.
    event JSONB NOT NULL GENERATED ALWAYS AS (replace(text, E'\\u0000', E'\\ufffd')::jsonb) STORED,
    -- Which execution wrote it: tells an answer that was lost from somebody else's event of the same words.
    writer TEXT NOT NULL,
    PRIMARY KEY (run, seq)
);

CREATE FUNCTION tidegate.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'tidegate.event is only ever added to';
END
$$;

CREATE TRIGGER event_is_append_only BEFORE UPDATE OR DELETE ON tidegate.event
    FOR EACH ROW EXECUTE FUNCTION tidegate.refuse_change();

CREATE TRIGGER event_is_never_emptied BEFORE TRUNCATE ON tidegate.event
    FOR EACH STATEMENT EXECUTE FUNCTION tidegate.refuse_change();
