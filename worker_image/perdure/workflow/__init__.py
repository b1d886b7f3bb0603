"""What workflow code is written with.

A workflow is a class marked with ``defn`` whose ``run`` coroutine reads like any other. While it
runs it may use the functions of this package and ordinary asyncio; everything that it waits for is
recorded, so that the same code on the same history takes the same path on any worker.
"""
