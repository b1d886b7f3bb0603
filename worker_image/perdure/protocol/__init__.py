"""What crosses the wire and lands in history, as plain values.

``payloads`` and ``failures`` are what users' data and errors become; ``events`` is what a
history is made of; ``commands`` is what workflow code asks for; ``messages`` is the worker
stream; ``verbs`` is what clients ask of the server. Everything here is data: what an event
means for a run is decided by the engine, what it means for workflow code by the replay.

Instants are integer milliseconds since the Unix epoch (UTC); durations are integer
milliseconds. Fields left at their default are not written, so a field can be added later
and old histories still decode.
"""
