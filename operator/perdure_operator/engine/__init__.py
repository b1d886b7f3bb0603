"""The pure core: a run's state, what may follow, what it needs next.

No clock, no I/O, no asyncio: instants are handed in, decisions come out as values.
``runs`` holds the state, ``evolution`` says how it follows from events, ``decisions`` which
events an input causes, ``attempts`` how one open activity goes through its attempts, and
``transitions`` what of all this is written in one commit.
"""
