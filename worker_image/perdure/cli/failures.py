"""A failure in words: what failed, because of what."""

from __future__ import annotations

from perdure.protocol.failures import ActivityInfo, ApplicationInfo, Failure

_OURS = ("/perdure/replay/", "/perdure/worker/")


def failure_lines(failure: Failure) -> list[str]:
    """Return a failure and its causes, outermost first, then where the last one was raised."""
    lines = [_one(failure)]
    root = failure
    while root.cause is not None:
        root = root.cause
        lines.append(f"  because of {_one(root)}")
    lines += [f"    {line}" for line in _users_frames(root.stack_trace)]
    return lines


def _users_frames(stack_trace: str) -> list[str]:
    """Return the lines of a stack trace without the frames of Perdure, which ran the code."""
    lines = []
    is_ours = False
    for line in stack_trace.rstrip().splitlines():
        if line.lstrip().startswith('File "'):
            is_ours = any(part in line for part in _OURS)
        if not is_ours:
            lines.append(line.removeprefix("  "))
    return lines


def _one(failure: Failure) -> str:
    match failure.info:
        case ApplicationInfo(type=kind) if kind:
            return f"{kind}: {failure.message}" if failure.message else kind
        case ActivityInfo(activity_type=name):
            return f"activity {name}: {failure.message or 'failed'}"
        case _:
            return failure.message or "failed"
