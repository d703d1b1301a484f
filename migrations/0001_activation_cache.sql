-- The activation cache: what every SAE said about every token that was ever computed.
-- "kept" tables hold what cannot be made again or what such rows point to; "derived" tables may be
-- emptied at any time and are filled again by computing. Blob layouts: docs/database.md.

-- kept. What produced numbers: one row for each model, and another one when its content changes.
CREATE TABLE model (
    id       INTEGER PRIMARY KEY,  -- never sent to clients
    name     TEXT NOT NULL,        -- the model's id, as in "gemma-2-2b"
    identity BLOB NOT NULL         -- 16 bytes: sizes, samples of every tensor, precision, numerics
             CHECK (length(identity) = 16),
    UNIQUE (name, identity)
) STRICT;

-- kept. One SAE at one point of one model; another row when its content changes.
CREATE TABLE source (
    id          INTEGER PRIMARY KEY,
    model       INTEGER NOT NULL REFERENCES model (id),
    name        TEXT NOT NULL,     -- as in "20-gemmascope-res-16k"
    identity    BLOB NOT NULL      -- 16 bytes: as for the model, of the SAE's file
                CHECK (length(identity) = 16),
    layer       INTEGER NOT NULL   -- of the model, from 0
                CHECK (layer >= 0),
    point       TEXT NOT NULL,     -- where it reads: "resid_post", "mlp_out", "attn_z", ...
    d_in        INTEGER NOT NULL   -- width of what it reads
                CHECK (d_in > 0),
    d_sae       INTEGER NOT NULL   -- number of its features; every index below is less
                CHECK (d_sae > 0),
    activations INTEGER NOT NULL   -- derived: number of the source's rows in activation
                DEFAULT 0,
    UNIQUE (model, name, identity)
) STRICT;

-- kept. Token sequences, each once for each model.
CREATE TABLE text (
    id       INTEGER PRIMARY KEY,
    model    INTEGER NOT NULL REFERENCES model (id), -- whose token ids these are
    hash     BLOB NOT NULL         -- FNV-1a, 128 bits, big endian, of the bytes of ids
             CHECK (length(hash) = 16),
    n_tokens INTEGER NOT NULL      -- at least 1
             CHECK (n_tokens > 0),
    ids      BLOB NOT NULL         -- n_tokens int32, little endian, BOS included where there was one
             CHECK (length(ids) = 4 * n_tokens),
    UNIQUE (model, hash)
) STRICT;

-- derived. The active features of one token under one source. A prompt's rows lie side by side, so
-- an answer is one range read.
CREATE TABLE activation (
    source   INTEGER NOT NULL REFERENCES source (id),
    text     INTEGER NOT NULL REFERENCES text (id),
    position INTEGER NOT NULL,     -- in the text, from 0; position 0 is BOS where there is one
    features BLOB NOT NULL,        -- varint n; n varints: rising indices as differences; n float32
    PRIMARY KEY (source, text, position)
) STRICT, WITHOUT ROWID;
