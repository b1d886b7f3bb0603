"""Running workflow code against a history: activation in, commands out.

:mod:`perdure.replay.instance` is one run's code on its own deterministic event loop. Nothing here
does I/O or reads a clock; what a run knows of the world comes in as events.
"""
