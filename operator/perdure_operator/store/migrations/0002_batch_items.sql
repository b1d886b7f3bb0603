-- Results of batches' items, from their end until they are moved into the run's events, many at
-- once. `item` is the item's number in the run; `data` is the encoded ItemResult.
CREATE TABLE batch_items (
    run  INTEGER NOT NULL,
    item INTEGER NOT NULL,
    data BLOB    NOT NULL,
    PRIMARY KEY (run, item)
) WITHOUT ROWID;
