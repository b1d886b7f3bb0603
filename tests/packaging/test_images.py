"""What the Dockerfiles promise to those who run the images; the e2e tier runs them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from support.cluster_images import OPERATOR, WORKER, Image
from support.cluster_tools import CHECKOUT

BOTH = pytest.mark.parametrize("image", [WORKER, OPERATOR], ids=["worker", "operator"])


def instructions(image: Image) -> list[tuple[str, str]]:
    """Return each instruction and its argument, in order."""
    text = re.sub(r"\\\n\s*", "", image.dockerfile.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


@BOTH
def test_it_runs_as_a_numbered_user_that_is_not_root(image: Image) -> None:
    users = [argument for word, argument in instructions(image) if word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])


@BOTH
def test_no_package_index_is_asked(image: Image) -> None:
    runs = [argument for word, argument in instructions(image) if word == "RUN"]
    installs = [step for run in runs for step in run.split("&&") if "pip install" in step]
    assert installs
    assert all("--no-index" in step for step in installs)


@BOTH
def test_its_base_can_be_replaced(image: Image) -> None:
    found = instructions(image)
    assert ("ARG", "BASE=python:3.11-slim") in found
    assert {argument.split()[0] for word, argument in found if word == "FROM"} == {"${BASE}"}


@BOTH
def test_what_it_starts_is_a_command_of_the_distribution(image: Image) -> None:
    starts = [argument for word, argument in instructions(image) if word in {"ENTRYPOINT", "CMD"}]
    command = re.findall(r'"([^"]*)"', starts[0])[0]
    project = tomllib.loads(Path(CHECKOUT / "pyproject.toml").read_text())["project"]
    assert command in project["scripts"]


def test_the_worker_image_holds_the_bare_distribution() -> None:
    assert WORKER.extras == ()
