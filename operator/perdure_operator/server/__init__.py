"""The server: engine and store behind one HTTP port.

``keeping`` holds hot runs and commits their transitions; ``workflow_tasks``,
``activity_tasks`` and ``alarms`` hand out what follows from them; ``sessions`` and
``dispatching`` know the connected workers; ``streams`` and ``verbs`` are the two ways in;
``host`` puts it all together and ``app`` serves it.

Everything here runs on one asyncio loop. What changes a run is synchronous from the moment
at which the run is at hand to the submission of its transition; what follows (answers, tasks,
wake-ups) happens when the transition is on disk, never before.
"""
