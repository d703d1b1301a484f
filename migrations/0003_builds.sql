-- Dashboards are written in many short transactions, so that other writers need not wait, and shown
-- by one: dashboard.build says whose rows count. What features write into the vocabulary depends on
-- weights alone and outlives dashboards.
-- Blob layouts: docs/database.md.

-- derived. A dashboard that is being written, is shown, or was left half written by a run that
-- ended; the source's next run removes those of the last kind.
CREATE TABLE build (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    source INTEGER NOT NULL REFERENCES source (id)
) STRICT;
INSERT INTO build SELECT source, source FROM dashboard;

ALTER TABLE dashboard ADD COLUMN build INTEGER REFERENCES build (id);
UPDATE dashboard SET build = source;

-- derived. What features write into the vocabulary.
CREATE TABLE feature_logits (
    source INTEGER NOT NULL REFERENCES source (id),
    number INTEGER NOT NULL,       -- the feature's index
    logits BLOB NOT NULL,          -- 10 + 10 tokens and the histogram over the vocabulary
    PRIMARY KEY (source, number)
) STRICT, WITHOUT ROWID;
INSERT INTO feature_logits SELECT source, number, logits FROM feature WHERE logits <> x'';

-- derived. What a build says of a feature, dead ones included.
CREATE TABLE built_feature (
    build     INTEGER NOT NULL REFERENCES build (id),
    number    INTEGER NOT NULL,    -- the feature's index
    count     INTEGER NOT NULL,
    maximum   REAL NOT NULL,       -- 0 for a dead feature
    statistic BLOB NOT NULL,       -- activation histogram: see docs/database.md
    label     TEXT NOT NULL,       -- automatic: top tokens and promoted tokens, "" if nothing fired
    PRIMARY KEY (build, number)
) STRICT, WITHOUT ROWID;
INSERT INTO built_feature SELECT source, number, count, maximum, statistic, label FROM feature;
DROP TABLE feature;
ALTER TABLE built_feature RENAME TO feature;

-- derived. Examples of a feature: its page is one range of this table.
CREATE TABLE built_example (
    build    INTEGER NOT NULL REFERENCES build (id),
    number   INTEGER NOT NULL,     -- the feature's index
    part     INTEGER NOT NULL,     -- 0 top activations; 1..5 intervals, from the highest down
    place    INTEGER NOT NULL,     -- within the part, from 0
    text     INTEGER NOT NULL REFERENCES text (id),
    corpus   INTEGER NOT NULL REFERENCES corpus (id),
    document INTEGER NOT NULL,     -- its number there
    position INTEGER NOT NULL,     -- in the text
    value    REAL NOT NULL,        -- at the position
    bin_min  REAL NOT NULL,        -- -1 in part 0
    bin_max  REAL NOT NULL,
    bin_contains REAL NOT NULL,    -- fraction of all tokens in the interval; -1 in part 0
    along    BLOB NOT NULL,        -- the feature's values along the text: blob of rows, see the docs
    PRIMARY KEY (build, number, part, place)
) STRICT, WITHOUT ROWID;
INSERT INTO built_example SELECT * FROM example;
DROP TABLE example;
ALTER TABLE built_example RENAME TO example;
