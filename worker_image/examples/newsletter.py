"""A fan-out: one issue of a newsletter to 10,000 subscribers, one batch in history.

At most 50 mails are under way at once, each is tried up to three times, and up to 100 addresses may
turn out to be dead before the whole is called off. Dead addresses are gathered as they come up.

Run it on a bare machine, and watch from a second terminal:

    perdure run worker_image/examples/newsletter.py --id issue-7 --input '{"issue": "7"}'
    perdure query issue-7 progress --address ADDRESS

Kill the command at any moment and give it again, with the same id: mails whose result is recorded
are not sent again. Those that were under way are; the mail provider of real life knows them by
their idempotency key. Here an outbox, a file of one JSON line for each mail, stands for it.
"""

import asyncio
import json
import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from perdure import activity, workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError

OUTBOX = Path(os.environ.get("NEWSLETTER_OUTBOX", "newsletter-outbox.jsonl"))


@dataclass
class Newsletter:
    """What to send, and how."""

    issue: str
    subscribers: int = 10_000
    at_once: int = 50
    may_bounce: int = 100
    takes: float = 0.005
    """Seconds for one mail."""


@dataclass
class Mail:
    """One mail."""

    issue: str
    to: str
    takes: float = 0


@dataclass
class Summary:
    """How it went."""

    sent: int
    bounced: list[str] = field(default_factory=list)


def find_subscribers(count: int) -> list[str]:
    """Read the addresses: a light side effect, so a step. Every 1,000th is dead."""
    return [
        f"nobody-{number}@example.com" if number % 1000 == 999 else f"reader-{number}@example.com"
        for number in range(count)
    ]


def write_to_outbox(to: str) -> None:
    """Do the side effect."""
    info = activity.info()
    line = {"to": to, "key": info.idempotency_key, "attempt": info.attempt}
    with OUTBOX.open("a") as outbox:
        outbox.write(json.dumps(line) + "\n")


@activity.defn(name="send-mail")
async def send_mail(mail: Mail) -> str:
    """Send one mail and return the provider's number for it."""
    await asyncio.sleep(mail.takes)
    if mail.to.startswith("nobody"):
        raise ApplicationError(f"{mail.to} is dead", type="Bounced", non_retryable=True)
    write_to_outbox(mail.to)
    return f"mail-{activity.info().item}"


@workflow.defn
class NewsletterWorkflow:
    """One issue."""

    def __init__(self) -> None:
        self._batch: workflow.Batch[str | ActivityError] | None = None

    @workflow.query
    def progress(self) -> dict[str, int]:
        """How many mails there are, how many are sent, and how many bounced."""
        return {} if self._batch is None else self._batch.progress._asdict()

    @workflow.run
    async def run(self, newsletter: Newsletter) -> Summary:
        """Send the issue to everybody."""
        addresses = await workflow.step(find_subscribers, newsletter.subscribers)
        self._batch = workflow.map_activities(
            send_mail,
            [Mail(newsletter.issue, address, newsletter.takes) for address in addresses],
            parallelism=newsletter.at_once,
            tolerated_failures=newsletter.may_bounce,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_attempts=3),
            summary=f"issue {newsletter.issue}",
        )
        summary = Summary(sent=0)
        async for mail in self._batch.as_completed():
            if isinstance(mail.result, ActivityError):
                summary.bounced.append(addresses[mail.index])
            else:
                summary.sent += 1
        return summary
