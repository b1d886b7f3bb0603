-- What a Perdure database is made of. SQLite 3.24 or newer.
--
-- Numbers name runs inside the database (`run`): they are a third of the size of a run id.
-- No foreign keys: one statement path writes all of this, and a check per row would only cost.

-- "PRDU": refuses other programs' databases, and lets file(1) name ours.
PRAGMA application_id = 1347568725;

-- One row a run, kept up to date with its history. `change` is set with each commit of a
-- watched run and stays when the run is watched no longer, so that the count never goes back.
CREATE TABLE runs (
    id            INTEGER PRIMARY KEY,
    run_id        TEXT    NOT NULL UNIQUE,
    namespace     TEXT    NOT NULL,
    workflow_id   TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    workflow_type TEXT    NOT NULL,
    task_queue    TEXT    NOT NULL,
    status        TEXT    NOT NULL,
    version       INTEGER NOT NULL,
    started       INTEGER NOT NULL,
    closed        INTEGER,
    last_event    INTEGER NOT NULL,
    history_bytes INTEGER NOT NULL,
    digest        BLOB    NOT NULL,
    current_step  TEXT    NOT NULL,
    task_pending  INTEGER NOT NULL,
    watched       INTEGER NOT NULL,
    request_id    TEXT    NOT NULL,
    change        INTEGER
);

-- At most one open run of a workflow id.
CREATE UNIQUE INDEX runs_open ON runs (namespace, workflow_id) WHERE closed IS NULL;
-- The newest run of a workflow id.
CREATE INDEX runs_by_workflow ON runs (workflow_id, namespace, started, run_id);
-- Lists, newest first.
CREATE INDEX runs_by_start ON runs (started, run_id);
CREATE INDEX runs_by_status ON runs (status, started, run_id);
-- Which workflow code has something to be told, after a restart.
CREATE INDEX runs_pending ON runs (id) WHERE task_pending AND closed IS NULL;
-- Watched runs by their last change, and the last change there was.
CREATE INDEX runs_by_change ON runs (change) WHERE change IS NOT NULL;

-- The events of one transition, encoded together; `last` is the id of the last of them.
-- Rows go in at the end of the table, so a batch of many runs fills few pages.
CREATE TABLE events (
    run  INTEGER NOT NULL,
    last INTEGER NOT NULL,
    data BLOB    NOT NULL,
    UNIQUE (run, last)
);

-- Activities that are not closed; `data` is the encoded OpenActivity.
CREATE TABLE open_activities (
    run     INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    wake    INTEGER NOT NULL,
    started INTEGER NOT NULL,
    data    BLOB    NOT NULL,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;

CREATE INDEX open_activities_by_wake ON open_activities (wake);

-- Wake-ups that have not come yet.
CREATE TABLE timers (
    run   INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    fires INTEGER NOT NULL,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;

CREATE INDEX timers_by_fires ON timers (fires);
