-- One number that changes with whatever the page of a feature shows, whoever writes it: a server that
-- keeps pages in its memory looks at it before it sends one. Features and examples are shown by
-- their dashboard's row, which is written in the same transaction (0003).

-- derived. The only row.
CREATE TABLE pages (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL
) STRICT;
INSERT INTO pages VALUES (1, 1);

CREATE TRIGGER pages_dashboard_insert AFTER INSERT ON dashboard
BEGIN UPDATE pages SET number = number + 1; END;
CREATE TRIGGER pages_dashboard_update AFTER UPDATE ON dashboard
BEGIN UPDATE pages SET number = number + 1; END;
CREATE TRIGGER pages_dashboard_delete AFTER DELETE ON dashboard
BEGIN UPDATE pages SET number = number + 1; END;
CREATE TRIGGER pages_neighbour_insert AFTER INSERT ON neighbour
BEGIN UPDATE pages SET number = number + 1; END;
CREATE TRIGGER pages_neighbour_update AFTER UPDATE ON neighbour
BEGIN UPDATE pages SET number = number + 1; END;
CREATE TRIGGER pages_neighbour_delete AFTER DELETE ON neighbour
BEGIN UPDATE pages SET number = number + 1; END;
CREATE TRIGGER pages_explanation_insert AFTER INSERT ON explanation
BEGIN UPDATE pages SET number = number + 1; END;
CREATE TRIGGER pages_explanation_update AFTER UPDATE ON explanation
BEGIN UPDATE pages SET number = number + 1; END;
CREATE TRIGGER pages_explanation_delete AFTER DELETE ON explanation
BEGIN UPDATE pages SET number = number + 1; END;
CREATE TRIGGER pages_imported_feature_insert AFTER INSERT ON imported_feature
BEGIN UPDATE pages SET number = number + 1; END;
CREATE TRIGGER pages_imported_feature_update AFTER UPDATE ON imported_feature
BEGIN UPDATE pages SET number = number + 1; END;
CREATE TRIGGER pages_imported_feature_delete AFTER DELETE ON imported_feature
BEGIN UPDATE pages SET number = number + 1; END;
CREATE TRIGGER pages_imported_example_insert AFTER INSERT ON imported_example
BEGIN UPDATE pages SET number = number + 1; END;
CREATE TRIGGER pages_imported_example_update AFTER UPDATE ON imported_example
BEGIN UPDATE pages SET number = number + 1; END;
CREATE TRIGGER pages_imported_example_delete AFTER DELETE ON imported_example
BEGIN UPDATE pages SET number = number + 1; END;
