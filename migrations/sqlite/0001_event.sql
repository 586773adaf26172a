-- The truth. Every other table is made from this one and can be made again.
CREATE TABLE event (
    run TEXT NOT NULL,
    seq INTEGER NOT NULL CHECK (seq >= 1),
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    previous TEXT NOT NULL CHECK (length(previous) = 64),
    hash TEXT NOT NULL CHECK (length(hash) = 64),
    -- The event, exactly as hashed.
    text TEXT NOT NULL,
    -- Which execution wrote it: tells an answer that was lost from somebody else's event of the same words.
    writer TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT;

CREATE TRIGGER event_is_not_changed BEFORE UPDATE ON event
BEGIN
    SELECT RAISE(ABORT, 'event is only ever added to');
END;

CREATE TRIGGER event_is_not_removed BEFORE DELETE ON event
BEGIN
    SELECT RAISE(ABORT, 'event is only ever added to');
END;
