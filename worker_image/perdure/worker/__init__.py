"""The process that runs workflow and activity code.

::

    worker = Worker(client, task_queue="orders", workflows=[Order], activities=[charge, ship])
    await worker.run()

A worker keeps one connection to the server, runs what it is handed on its event loop (sync
activities and steps in threads), and reports. Losing it loses nothing: what it held goes to another
one. It leaves gracefully on SIGTERM.
"""

from perdure.worker._stream import WorkerRefusedError
from perdure.worker._watchdog import DeadlockError
from perdure.worker._worker import Worker

__all__ = ["DeadlockError", "Worker", "WorkerRefusedError"]
