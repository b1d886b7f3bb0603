"""Schedules: Workflows when it is time, each once.

``calendars``, ``crons`` and ``timing`` say which instants there are, without a clock;
``children`` reads the Workflows of a Schedule and names them; ``deciding`` applies the overlap
policy to one firing after the other; ``ledger`` brings the status up to date by that; ``history``
says which Workflows are kept; ``reporting`` writes the status, ``planning`` puts it together.

**Why nothing fires twice.** The state is the status, written by compare-and-swap, and the names:
a Workflow's name follows from the Schedule and the time (or from the id of a trigger or backfill).
Workflows are made first, and only a later round, which sees them in the cluster, writes the status
that says so. If the operator dies in between, the next one decides again and meets the
same names. No Workflow is deleted before the status has counted it.

**Why nothing is missed.** What is due follows from the last time that was dealt with, not from
when anybody looked.
"""
