-- Neurons, the sources that need no file, have values on every token, so no row of theirs stands in
-- activation: what is counted while texts go by is kept, and goes as far as their rows in indexed
-- say. Blob layout: docs/database.md.

-- kept. What was counted of one neuron: how often, between which values, both ends, samples.
CREATE TABLE neuron (
    id        INTEGER PRIMARY KEY, -- never sent to clients
    source    INTEGER NOT NULL REFERENCES source (id),
    number    INTEGER NOT NULL,    -- the neuron's index
    statistic BLOB NOT NULL,
    UNIQUE (source, number)
) STRICT;

-- In example, part 6 holds the tokens with the lowest values of a neuron, the lowest one first;
-- along then says the values of the tokens around the example's only, and the others are unknown.
