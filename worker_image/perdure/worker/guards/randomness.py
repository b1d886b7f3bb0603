"""The random numbers of workflow code: the run's own, seeded from its run id.

``secrets``, ``uuid.uuid4`` and ``random.SystemRandom`` take theirs from ``os.urandom``, so
guarding that one guards them. What comes out is repeatable, therefore not secret: workflow code
must not make keys or tokens (a step may).
"""

from __future__ import annotations

import os
import random
import uuid
from typing import Any

from perdure.worker.guards.patches import Patches
from perdure.worker.guards.scope import guarded_run
from perdure.workflow._forbidden import Forbidden, forbidden_call
from perdure.workflow._runtime import Runtime

_FUNCTIONS = (
    "betavariate",
    "binomialvariate",
    "choice",
    "choices",
    "expovariate",
    "gammavariate",
    "gauss",
    "getrandbits",
    "getstate",
    "lognormvariate",
    "normalvariate",
    "paretovariate",
    "randbytes",
    "randint",
    "random",
    "randrange",
    "sample",
    "seed",
    "setstate",
    "shuffle",
    "triangular",
    "uniform",
    "vonmisesvariate",
    "weibullvariate",
)


def guard(patches: Patches) -> None:
    """Guard :mod:`random`, :mod:`uuid` and the system's random numbers."""
    for name in _FUNCTIONS:
        patches.guard(random, name, _drawing(name))
    patches.guard(os, "urandom", _urandom)
    patches.guard(os, "getrandom", _getrandom)
    patches.apply_to(random)  # SystemRandom, and so secrets, holds os.urandom by name
    patches.guard(uuid, "uuid1", _uuid1)
    patches.guard(uuid, "uuid6", _uuid6)
    patches.guard(uuid, "uuid7", _uuid7)
    patches.replace(random.Random, "seed", _build_seed())


def _drawing(name: str) -> Any:
    def draw(runtime: Runtime, *args: Any, **kwargs: Any) -> Any:
        return getattr(runtime.random, name)(*args, **kwargs)

    return draw


def _urandom(runtime: Runtime, size: int) -> bytes:
    return runtime.random.randbytes(size)


def _getrandom(runtime: Runtime, size: int, _flags: int = 0) -> bytes:
    return _urandom(runtime, size)


def _uuid1(runtime: Runtime, node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
    """A version 1 UUID of workflow time, with a random node (RFC 9562, section 6.10)."""
    bits = runtime.random.getrandbits
    node = bits(48) | 1 << 40 if node is None else node
    clock_seq = bits(14) if clock_seq is None else clock_seq
    ticks = runtime.now_ms() * 10_000 + 0x01B21DD213814000
    fields = (
        ticks & 0xFFFFFFFF,
        ticks >> 32 & 0xFFFF,
        ticks >> 48 & 0x0FFF,
        clock_seq >> 8 & 0x3F,
        clock_seq & 0xFF,
        node,
    )
    return uuid.UUID(fields=fields, version=1)


def _uuid6(_runtime: Runtime, *_args: Any, **_kwargs: Any) -> uuid.UUID:
    raise forbidden_call(Forbidden.IDENTITY, "uuid.uuid6()")


def _uuid7(runtime: Runtime) -> uuid.UUID:
    """A version 7 UUID of workflow time (RFC 9562, section 5.7)."""
    bits = runtime.random.getrandbits
    return uuid.UUID(int=runtime.now_ms() << 80 | 7 << 76 | bits(12) << 64 | 2 << 62 | bits(62))


def _build_seed() -> Any:
    real = random.Random.seed

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        """Seed; without a seed, in workflow code, from the run's random numbers."""
        if a is None:
            runtime = guarded_run()
            a = None if runtime is None else runtime.random.getrandbits(256)
        real(self, a, version)

    return seed
