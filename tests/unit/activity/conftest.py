"""What the tests of activity code share."""

import asyncio

# Else looptime asks for the implicit event loop in a sync test, which makes one and leaks it.
asyncio.set_event_loop(None)
