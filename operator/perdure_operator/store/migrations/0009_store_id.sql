-- Which store this is: a new file has another id, so who has seen this one knows it again.
CREATE TABLE store (
    id TEXT NOT NULL
) STRICT;

INSERT INTO store VALUES (lower(hex(randomblob(16))));
