"""What must not be in any file of the project."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
GENERATED = ("go.sum",)

FORBIDDEN = {
    "a path of somebody's machine": r"(?<![\w.$}/-])/(?:work|root|Users/\w+|home/(?!you\b)\w+)/\w",
    "a package index of somebody's network": (
        r"(?:--index-url|--extra-index-url|index-url *=|trusted-host|GOPROXY=|registry *=)"
        r"[ =]*[\"']?https?://"
    ),
    "a mark of an unfinished merge": r"(?m)^(?:<{7}|>{7}) ",
    "a blanket type: ignore": r"# type: ignore(?!\[[\w-]+\])",
    "a blanket noqa": r"# noqa(?!: [A-Z]+\d+)",
    "unfinished work": r"\bTODO\b(?!\(#)|\bFIXME\b|\bXXX\b|raise NotImplementedError",
}


def tracked() -> list[Path]:
    """Return the files under version control; all files where there is none."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this is no git checkout")
    return [CHECKOUT / name for name in listed.stdout.split("\0") if name]


def texts() -> list[tuple[str, str]]:
    """Return the name and the text of each text file, this one left out."""
    found = []
    for path in tracked():
        if path.name in GENERATED or path == Path(__file__) or not path.is_file():
            continue
        try:
            found.append((str(path.relative_to(CHECKOUT)), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return found


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    hits = [
        f"{name}:{text.count(chr(10), 0, hit.start()) + 1}: {hit.group()}"
        for name, text in texts()
        for hit in pattern.finditer(text)
    ]
    assert hits == []


def test_what_the_type_checker_is_told_to_pass_over_has_a_reason() -> None:
    bare = re.compile(r"# type: ignore\[[\w-]+\](?! +#? ?\w)")
    assert [name for name, text in texts() if "tests/" not in name and bare.search(text)] == []


def test_text_files_end_with_one_newline_and_have_no_trailing_blanks() -> None:
    assert [
        name
        for name, text in texts()
        if text
        and (not text.endswith("\n") or text.endswith("\n\n") or re.search(r"[ \t]\n", text))
    ] == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a path of somebody's machine", 'ROOT = "/home/jane/perdure"'),
        ("a package index of somebody's network", "pip install --index-url https://x/simple"),
        ("a blanket type: ignore", "x = 1  # type: ignore"),
        ("a blanket noqa", "x = 1  # noqa"),
        ("unfinished work", "# TODO later"),
    ],
)
def test_the_patterns_find_what_they_are_for(what: str, line: str) -> None:
    assert re.search(FORBIDDEN[what], line)
