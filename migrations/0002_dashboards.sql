-- Corpora, and what a run over them says about every feature; explanations; imported dashboards.
-- Blob layouts: docs/database.md.

-- kept. Texts that were indexed, by name and by how they were cut into contexts.
CREATE TABLE corpus (
    id       INTEGER PRIMARY KEY,
    model    INTEGER NOT NULL REFERENCES model (id),
    name     TEXT NOT NULL,        -- the file's name, "stdin", or what --name said
    settings TEXT NOT NULL,        -- JSON: context, pack, keep_duplicates, bos
    UNIQUE (model, name, settings)
) STRICT;

-- kept. The contexts of a corpus in order. A text that occurs twice stands in two documents.
CREATE TABLE document (
    corpus INTEGER NOT NULL REFERENCES corpus (id),
    number INTEGER NOT NULL,       -- from 0, without gaps
    text   INTEGER NOT NULL REFERENCES text (id),
    line   INTEGER NOT NULL,       -- of the corpus, from 1: where its first token comes from
    PRIMARY KEY (corpus, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX document_text ON document (text);

-- kept. How far each source has been run over each corpus: documents 0 .. documents-1.
CREATE TABLE indexed (
    source    INTEGER NOT NULL REFERENCES source (id),
    corpus    INTEGER NOT NULL REFERENCES corpus (id),
    documents INTEGER NOT NULL,
    tokens    INTEGER NOT NULL,    -- of those documents, <bos>, <eos> and <pad> left out
    PRIMARY KEY (source, corpus)
) STRICT, WITHOUT ROWID;

-- derived. One dashboard a source, made from its activations; replaced as a whole.
CREATE TABLE dashboard (
    source    INTEGER PRIMARY KEY REFERENCES source (id),
    documents INTEGER NOT NULL,
    tokens    INTEGER NOT NULL,    -- that count: the denominator of every fraction
    context   INTEGER NOT NULL,    -- tokens of the longest document
    corpora   TEXT NOT NULL,       -- JSON list of names
    seed      INTEGER NOT NULL,    -- of the sampled examples
    counts    BLOB NOT NULL,       -- d_sae uint32: activations of each feature
    maxima    BLOB NOT NULL,       -- d_sae float32: largest activation of each feature
    made_at   TEXT NOT NULL        -- ISO 8601, UTC
) STRICT;

-- derived. Features that fired, and what they vote for. Dead features have a row for their logits.
CREATE TABLE feature (
    source    INTEGER NOT NULL REFERENCES source (id),
    number    INTEGER NOT NULL,    -- the feature's index
    count     INTEGER NOT NULL,
    maximum   REAL NOT NULL,       -- 0 for a dead feature
    statistic BLOB NOT NULL,       -- activation histogram: see docs/database.md
    logits    BLOB NOT NULL,       -- 10 + 10 tokens and the histogram over the vocabulary
    label     TEXT NOT NULL,       -- automatic: top tokens and promoted tokens, "" if nothing fired
    PRIMARY KEY (source, number)
) STRICT, WITHOUT ROWID;

-- derived. Examples of a feature: its page is one range of this table.
CREATE TABLE example (
    source   INTEGER NOT NULL REFERENCES source (id),
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
    PRIMARY KEY (source, number, part, place)
) STRICT, WITHOUT ROWID;

-- derived. Nearest features by decoder cosine, kept after they were first asked for.
CREATE TABLE neighbour (
    source INTEGER NOT NULL REFERENCES source (id),
    number INTEGER NOT NULL,
    target INTEGER NOT NULL REFERENCES source (id),
    nearest BLOB NOT NULL,         -- pairs uint32 index, float32 cosine, falling
    PRIMARY KEY (source, number, target)
) STRICT, WITHOUT ROWID;

-- kept. What people or language models say a feature means. Names, not row ids: an explanation
-- outlives the files it was written for.
CREATE TABLE explanation (
    row         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,  -- Neuronpedia's, or made here
    model       TEXT NOT NULL,
    source      TEXT NOT NULL,
    number      INTEGER NOT NULL,
    description TEXT NOT NULL,
    author      TEXT NOT NULL,         -- "" where unknown
    type_name   TEXT NOT NULL,         -- "oai_token-act-pair", ...
    explainer   TEXT NOT NULL,         -- explanationModelName
    notes       TEXT NOT NULL,
    origin      TEXT NOT NULL,         -- "imported" or "here"
    created_at  TEXT NOT NULL,
    other       TEXT NOT NULL          -- JSON: the imported columns that have none here
) STRICT;
CREATE INDEX explanation_feature ON explanation (model, source, number);

-- derived. Full text of explanations, twice: by stems ("dogs" finds "dog") and by words as they
-- stand (the beginning "explosi" finds "explosive", whose stem is shorter than that). Kept in step
-- by the program, not by triggers: with trusted_schema off a trigger may not touch a virtual table.
CREATE VIRTUAL TABLE explanation_stem USING fts5 (description, content='explanation',
    content_rowid='row', tokenize='porter unicode61 remove_diacritics 2');
CREATE VIRTUAL TABLE explanation_word USING fts5 (description, content='explanation',
    content_rowid='row', tokenize='unicode61 remove_diacritics 2');

-- derived. Labels of features, searched like explanations. The row id is source * 2^32 + number, so
-- that a source's labels are one range.
CREATE VIRTUAL TABLE label_text USING fts5 (label, tokenize='unicode61 remove_diacritics 2');

-- kept. Dashboards from Neuronpedia's export files, shown with their origin and never mixed with
-- our own statistics. The lines are kept as they came.
CREATE TABLE imported_feature (
    model  TEXT NOT NULL,
    source TEXT NOT NULL,
    number INTEGER NOT NULL,
    line   TEXT NOT NULL,          -- the JSON object
    PRIMARY KEY (model, source, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE imported_example (
    row    INTEGER PRIMARY KEY,
    id     TEXT NOT NULL UNIQUE,
    model  TEXT NOT NULL,
    source TEXT NOT NULL,
    number INTEGER NOT NULL,
    line   TEXT NOT NULL
) STRICT;
CREATE INDEX imported_example_feature ON imported_example (model, source, number);

-- kept. Runs that were asked for over HTTP or from the command line.
CREATE TABLE job (
    id         INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL,      -- "index"
    state      TEXT NOT NULL,      -- "running", "done", "cancelled", "failed", "interrupted"
    request    TEXT NOT NULL,      -- JSON: what was asked for
    progress   TEXT NOT NULL,      -- JSON: documents, tokens, ...
    error      TEXT NOT NULL,
    started_at TEXT NOT NULL,
    changed_at TEXT NOT NULL
) STRICT;
