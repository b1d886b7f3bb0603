"""The command line in front of a server that says what a test wants it to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from perdure.cli import asking, main


class FakeService:
    """Answers requests by their type; a list is answered one by one, its last one for ever."""

    def __init__(self, answers: dict[type, Any]) -> None:
        self.answers = answers
        self.requests: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def call(self, request: Any) -> Any:
        self.requests.append(request)
        answer = self.answers[type(request)]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


@dataclass
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str
    requests: list[Any] = field(default_factory=list)
    address: str = ""

    @property
    def request(self) -> Any:
        """The only thing that it asked."""
        (request,) = self.requests
        return request


@pytest.fixture
def perdure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Run a command: its words, and what the server answers."""
    for name in ("PERDURE_ADDRESS", "PERDURE_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str, answers: dict[type, Any] | None = None) -> Outcome:
        service = FakeService(answers or {})
        outcome = Outcome(code=0, out="", err="", requests=service.requests)

        def open_service(address: str) -> FakeService:
            outcome.address = address
            return service

        monkeypatch.setattr(asking, "open_service", open_service)
        with pytest.raises(SystemExit) as ended:
            main(words)
        captured = capsys.readouterr()
        outcome.code, outcome.out, outcome.err = int(ended.value.code or 0), *captured
        return outcome

    return run
