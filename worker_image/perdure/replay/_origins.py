"""Where an error comes from: which activity or step, if any, failed first."""

from __future__ import annotations

from perdure.exceptions import ActivityError


def failed_seq(error: BaseException) -> int:
    """Return the number of the activity or step whose failure led to ``error``; 0: of none.

    What was raised while another error was handled comes from that one, too: code that cleans up
    and then raises an error of its own seldom says ``from``.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, ActivityError) and each.seq:
            return each.seq
        waiting.append(None if each.__suppress_context__ else each.__context__)
        waiting.append(each.__cause__)
        if isinstance(each, BaseExceptionGroup):
            waiting += reversed(each.exceptions)
    return 0
