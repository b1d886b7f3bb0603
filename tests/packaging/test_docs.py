"""That the documentation is true where a machine can tell.

Links lead somewhere, code blocks compile, manifests are accepted by the models, commands exist
with the options that they are given, and files that are named are there.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from perdure.cli.app import build_app
from perdure_operator.model import API_VERSION, KINDS

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "charts/**/*.md", "tests/**/*.md")
    for path in CHECKOUT.glob(pattern)
)
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<code>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
NAMED_FILE = re.compile(
    r"`(?P<path>(?:\.ci|charts|crds|docs|gitops|operator|tests|worker_image)/[\w./-]+)`"
)
MODELS = {kind.name: kind.model for kind in KINDS}


def name(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code."""

    page: str
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def blocks() -> list[Block]:
    return [
        Block(
            page=name(page),
            line=text.count("\n", 0, found.start()) + 1,
            language=found["language"],
            code=re.sub(f"(?m)^{found['indent']}", "", found["code"]),
        )
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for found in FENCE.finditer(text)
    ]


def in_language(*languages: str) -> list[Block]:
    return [block for block in blocks() if block.language in languages]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def slug(heading: str) -> str:
    """Return the anchor that a heading gets."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r" ", "-", re.sub(r"[^\w\- ]", "", plain))


def anchors(page: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"(?m)^#+ (.*)$", prose(page))}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    dead = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = {path.rstrip("/.") for path in NAMED_FILE.findall(page.read_text(encoding="utf-8"))}
    assert sorted(path for path in named if not (CHECKOUT / path).exists()) == []


@pytest.mark.parametrize("block", in_language("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    compile(block.code, str(block), "exec")


@pytest.mark.parametrize("block", in_language("yaml"), ids=str)
def test_manifests_are_accepted(block: Block) -> None:
    for document in yaml.safe_load_all(block.code):
        if isinstance(document, dict) and document.get("apiVersion") == API_VERSION:
            MODELS[document["kind"]].from_manifest(document)


def commands(block: Block) -> Iterator[str]:
    """Return the commands that a block tells the reader to type, continued lines joined."""
    lines = block.code.replace("\\\n", " ").splitlines()
    if block.language == "console":
        # As bash shows them: `$ ` begins a command, `> ` continues it.
        typed = "\n".join(line for line in lines if line.startswith(("$ ", "> ")))
        lines = [line[2:] for line in typed.replace("\n> ", " ").splitlines()]
    for line in lines:
        yield re.sub(r"^(?:kubectl perdure|kubectl-perdure)\b", "perdure", line.strip())


SHELL = in_language("console", "sh", "bash", "shell")


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_of_perdure_exist_with_their_options(block: Block) -> None:
    group: Any = typer.main.get_command(build_app())
    for command in commands(block):
        if not command.startswith("perdure "):
            continue
        words = shlex.split(command, comments=True)
        words = words[1 : next((i for i, w in enumerate(words) if w in "|>&;" or w == "2>"), None)]
        verb = group.commands.get(words[0]) if words else None
        if len(words) > 1 and hasattr(verb, "commands"):
            # A verb of two words is in a group.
            words = words[1:]
            verb = verb.commands.get(words[0])
        if words[:1] in (["--help"], ["--version"]):
            continue
        assert verb is not None, f"{command}: no such verb"
        if "--help" not in words:
            verb.make_context(words[0], words[1:])


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_make_targets_exist(block: Block) -> None:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    for command in commands(block):
        if found := re.match(r"make ([a-z][\w-]*)", command):
            assert re.search(rf"(?m)^{found[1]}:", makefile), command


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_shell_blocks_parse(block: Block) -> None:
    script = "\n".join(commands(block))
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_every_block_says_its_language() -> None:
    assert [str(block) for block in blocks() if not block.language] == []
