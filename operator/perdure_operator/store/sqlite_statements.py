"""Every statement that the SQLite store runs on its tables, by name.

The tables are described in ``migrations``. A run is named by its number (``run``) everywhere but
in ``runs.run_id``. ``RUN_COLUMNS`` is the order in which a run's row is read.
"""

from __future__ import annotations

from typing import Final, LiteralString

RUN_COLUMNS: Final = (
    "namespace",
    "workflow_id",
    "run_id",
    "kind",
    "workflow_type",
    "task_queue",
    "status",
    "version",
    "started",
    "closed",
    "last_event",
    "history_bytes",
    "digest",
    "current_step",
    "task_pending",
    "watched",
    "request_id",
)

_SELECT_RUN: Final = (
    "SELECT namespace, workflow_id, run_id, kind, workflow_type, task_queue, status, version,"
    " started, closed, last_event, history_bytes, digest, current_step, task_pending, watched,"
    " request_id FROM runs"
)
_NEWEST_FIRST: Final = " ORDER BY started DESC, run_id DESC"

# Create a run; the unique indexes refuse a run id that is there and a second open run.
CREATE_RUN: Final = (
    "INSERT INTO runs (namespace, workflow_id, run_id, kind, workflow_type, task_queue, status,"
    " version, started, closed, last_event, history_bytes, digest, current_step, task_pending,"
    " watched, request_id, change) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

# Move a run on, if it is at the expected version, where nothing that is indexed changes.
ADVANCE_RUN: Final = (
    "UPDATE runs SET version = ?, last_event = ?, history_bytes = ?, digest = ?, current_step = ?"
    " WHERE id = ? AND version = ?"
)

# Move a run on, if it is at the expected version; an empty change leaves the last one.
CHANGE_RUN: Final = (
    "UPDATE runs SET version = ?, last_event = ?, history_bytes = ?, digest = ?, current_step = ?,"
    " status = ?, closed = ?, task_pending = ?, watched = ?, change = coalesce(?, change)"
    " WHERE id = ? AND version = ?"
)

# What the writer remembers of a run: its number and what is indexed.
KNOW_RUN: Final = "SELECT id, status, closed, task_pending, watched FROM runs WHERE run_id = ?"

# Why a change was refused: because of the version, or because of another open run.
VERSION_OF_RUN: Final = "SELECT version FROM runs WHERE run_id = ?"

# The newest change of a watched run that there ever was.
LAST_CHANGE: Final = "SELECT max(change) FROM runs WHERE change IS NOT NULL"

# Append the events of one transition.
APPEND_EVENTS: Final = "INSERT INTO events (run, last, data) VALUES (?, ?, ?)"

# Write an open activity as it is now.
PUT_ACTIVITY: Final = (
    "INSERT INTO open_activities (run, seq, wake, started, data) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (run, seq) DO UPDATE"
    " SET wake = excluded.wake, started = excluded.started, data = excluded.data"
)

# An activity is closed.
DROP_ACTIVITY: Final = "DELETE FROM open_activities WHERE run = ? AND seq = ?"

# Write a wake-up as it is now.
PUT_TIMER: Final = (
    "INSERT INTO timers (run, seq, fires) VALUES (?, ?, ?)"
    " ON CONFLICT (run, seq) DO UPDATE SET fires = excluded.fires"
)

# A wake-up has come or is not wanted.
DROP_TIMER: Final = "DELETE FROM timers WHERE run = ? AND seq = ?"

# Write the result of a batch's item, which waits to be moved into the run's events.
PUT_ITEM: Final = (
    "INSERT INTO batch_items (run, item, data) VALUES (?, ?, ?)"
    " ON CONFLICT (run, item) DO UPDATE SET data = excluded.data"
)

# An item's result has been moved, or the run is over.
DROP_ITEM: Final = "DELETE FROM batch_items WHERE run = ? AND item = ?"

# A run by its id.
GET_RUN: Final = _SELECT_RUN + " WHERE run_id = ?"

# The open run of a workflow id.
FIND_OPEN_RUN: Final = _SELECT_RUN + " WHERE namespace = ? AND workflow_id = ? AND closed IS NULL"

# The newest run of a workflow id, open or closed.
FIND_NEWEST_RUN: Final = (
    _SELECT_RUN + " WHERE workflow_id = ? AND namespace = ?" + _NEWEST_FIRST + " LIMIT 1"
)

# Every run whose code has something to be told.
PENDING_RUNS: Final = _SELECT_RUN + " WHERE task_pending AND closed IS NULL ORDER BY id"

# Which store this is.
STORE_ID: Final = "SELECT id FROM store"

# How many runs have one of two statuses: those of open runs.
COUNT_OPEN_RUNS: Final = "SELECT status, count(*) FROM runs WHERE status IN (?, ?) GROUP BY status"

# Watched runs by their last change; the change comes last.
WATCHED_CHANGES: Final = (
    _SELECT_RUN.replace(" FROM", ", change FROM")
    + " WHERE change > ? AND watched ORDER BY change LIMIT ?"
)

# A run's events in order, from the transition that holds the first one wanted.
READ_EVENTS: Final = (
    "SELECT data FROM events WHERE run = (SELECT id FROM runs WHERE run_id = ?) AND last > ?"
    " ORDER BY last"
)

# A run's open activities.
READ_ACTIVITIES: Final = (
    "SELECT data FROM open_activities WHERE run = (SELECT id FROM runs WHERE run_id = ?)"
    " ORDER BY seq"
)

# Results of a run's items that wait to be moved.
READ_ITEMS: Final = (
    "SELECT item, data FROM batch_items WHERE run = (SELECT id FROM runs WHERE run_id = ?)"
    " ORDER BY item"
)

# Activities with a running attempt: a scan, because only a start asks for it.
STARTED_ACTIVITIES: Final = (
    "SELECT run_id, data FROM open_activities JOIN runs ON id = run"
    " WHERE open_activities.started ORDER BY run, seq"
)

# Activities to look at in a window of time, with all that share the last one's time.
WAKING_ACTIVITIES: Final = (
    "SELECT run_id, data FROM open_activities JOIN runs ON id = run"
    " WHERE wake > :after AND wake <= min(:before, coalesce("
    "  (SELECT wake FROM open_activities WHERE wake > :after ORDER BY wake"
    "   LIMIT 1 OFFSET :limit - 1), :before))"
    " ORDER BY wake, run, seq"
)

# Timers due in a window of time, with all that share the last one's time.
DUE_TIMERS: Final = (
    "SELECT run_id, seq, fires FROM timers JOIN runs ON id = run"
    " WHERE fires > :after AND fires <= min(:before, coalesce("
    "  (SELECT fires FROM timers WHERE fires > :after ORDER BY fires"
    "   LIMIT 1 OFFSET :limit - 1), :before))"
    " ORDER BY fires, run, seq"
)


def list_runs(conditions: list[LiteralString]) -> str:
    """Return the statement that lists runs, newest first, by the given conditions."""
    where = " WHERE " + " AND ".join(conditions) if conditions else ""
    return _SELECT_RUN + where + _NEWEST_FIRST + " LIMIT ?"
