-- Runs pinned to a version of their code, and which versions serve each task queue.

-- The version that ran a run's code last; empty for runs from before this migration.
ALTER TABLE runs ADD COLUMN build_id TEXT NOT NULL DEFAULT '';

-- How many open runs are pinned to each version; `closed` is there so that the index is enough.
CREATE INDEX runs_pinned ON runs (namespace, task_queue, build_id, closed)
    WHERE closed IS NULL AND build_id <> '';

-- The versions of a task queue: at place 0 the current one, behind it those that are kept.
CREATE TABLE versions (
    namespace  TEXT    NOT NULL,
    task_queue TEXT    NOT NULL,
    place      INTEGER NOT NULL,
    build_id   TEXT    NOT NULL,
    PRIMARY KEY (namespace, task_queue, place)
) WITHOUT ROWID;
