"""How the end of a run is told: its result on standard output, its failure on standard error."""

from __future__ import annotations

from perdure.cli.errors import EXIT_OK, EXIT_RUN_FAILED
from perdure.cli.failures import failure_lines
from perdure.cli.outputs import json_text, print_line, to_yaml
from perdure.protocol.lines import payload_value
from perdure.protocol.verbs import ResultResponse, RunStatus

_ENDED = {
    RunStatus.FAILED: "failed",
    RunStatus.CANCELED: "was canceled",
    RunStatus.TERMINATED: "was terminated",
    RunStatus.TIMED_OUT: "timed out",
}


def print_ending(workflow_id: str, ended: ResultResponse, form: str = "json") -> int:
    """Print how a closed run ended and return the exit code.

    As JSON the result is one line, the last one on standard output.
    """
    if ended.status is RunStatus.COMPLETED:
        value = payload_value(ended.result)
        print_line(to_yaml(value) if form == "yaml" else json_text(value))
        return EXIT_OK
    print_line(f"{workflow_id} {_ended(ended.status)}", to_stderr=True)
    for line in failure_lines(ended.failure) if ended.failure else ():
        print_line(f"  {line}", to_stderr=True)
    return EXIT_RUN_FAILED


def _ended(status: RunStatus) -> str:
    return _ENDED.get(status, f"is {status.value}")
