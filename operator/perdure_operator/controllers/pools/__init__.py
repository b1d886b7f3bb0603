"""WorkerPools: worker Jobs by backlog, and none when nothing is runnable.

``templates`` builds a Job and names its version, ``overlaying`` lays the user's pod template over
ours, ``jobs`` and ``pods`` read what became of Jobs and why, ``failing`` decides about backoff,
``scaling`` which Jobs there should be, ``reporting`` the status, ``planning`` puts it together.

Jobs are only ever deleted for what is known of them: finished, of a version that is replaced, or
more than are kept. An API server or a Perdure server that cannot be read deletes nothing, and
workers that have nothing to do leave by themselves.
"""
