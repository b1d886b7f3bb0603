"""Finding the workflows and activities in the modules that a user names.

A module is a dotted name, looked up from the current directory as ``python -m`` does, or a file.
Everything decorated that stands in its namespace counts, imported or defined there.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from perdure.cli.errors import CommandError


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """What a worker is to run."""

    workflows: Sequence[type]
    activities: Sequence[Callable[..., Any]]


def load_definitions(modules: Iterable[str]) -> Definitions:
    """Import modules and return what they hold.

    Raises:
        CommandError: one cannot be imported, or none holds anything.
    """
    from perdure.worker import guards

    guards.install()  # before the modules take functions by name
    names = list(modules)
    loaded = [_load(name) for name in names]
    found = _find(loaded)
    if not found.workflows and not found.activities:
        raise CommandError(
            f"no workflow and no activity in {', '.join(names)}: mark classes with @workflow.defn "
            "and functions with @activity.defn (from perdure import activity, workflow)"
        )
    return found


def choose_workflow(definitions: Definitions, wanted: str, source: str) -> str:
    """Return the type to run: the one that is wanted, or the only one there is.

    Args:
        definitions: what the file holds.
        wanted: a type's or a class's name; empty means the only one.
        source: the file, for messages.

    Raises:
        CommandError: there is none, none of that name, or a choice to be made.
    """
    names = {cls.__name__: workflow_type(cls) for cls in definitions.workflows}
    known = sorted(name for name in names.values() if name)
    if not known:
        raise CommandError(
            f"{source} has no workflow: mark a class with @workflow.defn and its coroutine with "
            "@workflow.run"
        )
    chosen = ", ".join(f"{source}:{name}" for name in known)
    if not wanted:
        if len(known) > 1:
            raise CommandError(f"{source} has several workflows, say which: {chosen}")
        return known[0]
    if wanted in known:
        return wanted
    if named := names.get(wanted):
        return named
    raise CommandError(f"{source} has no workflow {wanted!r}, but: {chosen}")


def workflow_type(cls: type) -> str:
    """Return a workflow's type name; empty for a dynamic workflow."""
    from perdure.workflow._definition import WorkflowDefinition

    return WorkflowDefinition.of(cls).name or ""


def _find(modules: Iterable[ModuleType]) -> Definitions:
    from perdure.activity._definition import find_definition
    from perdure.workflow._definition import WORKFLOW_ATTRIBUTE

    workflows: dict[int, type] = {}
    activities: dict[int, Callable[..., Any]] = {}
    for module in modules:
        for value in list(vars(module).values()):
            if isinstance(value, type):
                if WORKFLOW_ATTRIBUTE in vars(value):
                    workflows[id(value)] = value
            elif callable(value) and find_definition(value) is not None:
                activities[id(value)] = value
    return Definitions(workflows=list(workflows.values()), activities=list(activities.values()))


def _load(name: str) -> ModuleType:
    is_file = name.endswith(".py") or "/" in name
    try:
        return _load_file(Path(name)) if is_file else _load_module(name)
    except CommandError:
        raise
    except SyntaxError as error:
        where = f"{error.filename}:{error.lineno}"
        line = f"\n  {error.text.strip()}" if error.text else ""
        raise CommandError(f"{name} cannot be imported: {where}: {error.msg}{line}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's module may raise anything
        raise CommandError(f"{name} cannot be imported:\n{_users_traceback(error)}") from None


def _load_module(name: str) -> ModuleType:
    _look_in(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise CommandError(
            f"there is no module {name!r}: run this in the directory that it is in, or give its "
            f"file ({name.replace('.', '/')}.py)"
        ) from None


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise CommandError(f"there is no file {path}")
    path = path.resolve()
    _look_in(path.parent)  # as Python itself does for a script, for the modules beside it
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if known is not None or name in sys.stdlib_module_names or not name.isidentifier():
        name = f"perdure_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CommandError(f"{path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # type hints of its classes are looked up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _look_in(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def _users_traceback(error: BaseException) -> str:
    """Return a traceback without what lies between the command and the user's module."""
    frames = traceback.extract_tb(error.__traceback__)
    users = [f for f in frames if f.filename != __file__ and not f.filename.startswith("<frozen")]
    own = [
        f for f in users if Path(importlib.__file__ or "").parent not in Path(f.filename).parents
    ]
    lines = traceback.format_list(own) + traceback.format_exception_only(error)
    return "".join(
        f"  {line}" for text in lines for line in text.splitlines(keepends=True)
    ).rstrip()
