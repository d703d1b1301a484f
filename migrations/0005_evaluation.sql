-- What SAEs leave unexplained of corpora (darkmatter evaluate), and where an unfinished one goes on.

-- derived. One evaluation of a source over a corpus; a new one takes its place.
CREATE TABLE evaluation (
    source      INTEGER NOT NULL REFERENCES source (id),
    corpus      INTEGER NOT NULL REFERENCES corpus (id),
    contexts    INTEGER NOT NULL,    -- contexts 0 .. contexts-1 of the corpus are in it
    tokens      INTEGER NOT NULL,    -- of those, <bos>, <eos> and <pad> left out
    token_limit INTEGER NOT NULL,    -- that was asked for; 0: the whole corpus
    finished    INTEGER NOT NULL     -- 1, or 0: stopped or interrupted
                CHECK (finished IN (0, 1)),
    report      TEXT NOT NULL,       -- JSON: figures, histograms, worst tokens and contexts
    state       BLOB,                -- sums to go on from, of this program's own layout; NULL once
                                     -- finished
    made_at     TEXT NOT NULL,       -- ISO 8601, UTC
    PRIMARY KEY (source, corpus)
) STRICT;
