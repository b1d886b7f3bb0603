"""Random numbers of workflow code come from the run's seed."""

# The calls under test are the ones that are discouraged elsewhere:
# ruff: noqa: PLW0108

import os
import random
import secrets
import uuid
from random import randint as bound_before

import pytest

DRAWS = {
    "random": random.Random.random,
    "randint": lambda r: r.randint(1, 10**9),
    "randrange": lambda r: r.randrange(10**9),
    "uniform": lambda r: r.uniform(1, 2),
    "gauss": lambda r: r.gauss(0, 1),
    "choice": lambda r: r.choice(range(10**9)),
    "choices": lambda r: r.choices(range(10**9), k=3),
    "sample": lambda r: r.sample(range(10**9), 3),
    "getrandbits": lambda r: r.getrandbits(64),
    "randbytes": lambda r: r.randbytes(16),
}


@pytest.mark.parametrize("draw", [pytest.param(draw, id=name) for name, draw in DRAWS.items()])
def test_random_functions_draw_from_the_run(as_workflow, draw):
    if draw is random.Random.random:
        assert as_workflow(lambda: random.random()) == random.Random(7).random()
    else:
        assert as_workflow(lambda: draw(random)) == draw(random.Random(7))


OTHERS = {
    "uuid1": lambda: uuid.uuid1(),
    "uuid4": lambda: uuid.uuid4(),
    "urandom": lambda: os.urandom(16),
    "getrandom": lambda: os.getrandom(16),
    "secrets.token_hex": lambda: secrets.token_hex(16),
    "secrets.randbelow": lambda: secrets.randbelow(10**12),
    "secrets.choice": lambda: secrets.choice(range(10**12)),
    "SystemRandom": lambda: random.SystemRandom().random(),
    "a Random without a seed": lambda: random.Random().random(),
}


@pytest.mark.parametrize("draw", [pytest.param(draw, id=name) for name, draw in OTHERS.items()])
def test_other_sources_follow_the_runs_seed(as_workflow, draw):
    first = as_workflow(draw)
    assert as_workflow(draw) == first
    assert as_workflow(draw, seed=8) != first
    assert draw() != first


def test_uuids_are_well_formed(as_workflow):
    assert as_workflow(lambda: uuid.uuid4()).version == 4
    one = as_workflow(lambda: uuid.uuid1())
    assert one.version == 1
    assert one.variant == uuid.RFC_4122
    # Version 1 counts 100 ns from 1582-10-15.
    assert (one.time - 0x01B21DD213814000) // 10_000 == 1_700_000_000_123
    given = as_workflow(lambda: uuid.uuid1(node=5, clock_seq=6))
    assert (given.node, given.clock_seq) == (5, 6)


def test_shuffling_follows_the_runs_seed(as_workflow):
    def shuffled() -> list[int]:
        items = list(range(50))
        random.shuffle(items)
        return items

    expected = list(range(50))
    random.Random(7).shuffle(expected)
    assert as_workflow(shuffled) == expected


def test_seeding_in_workflow_code_leaves_the_process_alone(as_workflow):
    state = random.getstate()
    as_workflow(lambda: random.seed(1))
    assert random.getstate() == state


def test_a_random_with_a_seed_is_as_everywhere(as_workflow):
    assert as_workflow(lambda: random.Random(3).random()) == random.Random(3).random()


def test_outside_workflow_code_random_numbers_are_the_process_own():
    random.seed(11)
    assert [random.random(), bound_before(1, 10**6)] == [
        (own := random.Random(11)).random(),
        own.randint(1, 10**6),
    ]
    assert os.urandom(8) != os.urandom(8)
    assert random.Random().random() != random.Random().random()
