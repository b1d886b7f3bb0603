"""Writes the histories of stories that have none yet; an existing one is never touched."""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]


def main() -> None:
    """Tell every untold story."""
    import msgspec
    from workflows import STORIES

    from support.histories import RunDriver, assert_replays

    for name, (workflow, args, story) in STORIES.items():
        path = HERE / "histories" / f"{name}.json"
        if path.exists():
            continue
        run = RunDriver(workflow, args)
        story(run)
        assert run.is_closed, f"{name} has no end: {run.kinds()}"
        assert_replays(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        events = msgspec.json.decode(msgspec.json.encode(run.events))
        text = json.dumps(events, indent=1).replace(f"{HERE.parents[1]}/", "")
        path.write_text(text + "\n")
        print(f"{path}: {len(run.events)} events")


if __name__ == "__main__":
    main()
