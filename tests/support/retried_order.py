"""An order that fails until a file says that the warehouse has stock; for tests of retries."""

CODE = """
    from datetime import timedelta
    from pathlib import Path

    from perdure import activity, workflow
    from perdure.common import RetryPolicy
    from perdure.exceptions import ActivityError, ApplicationError

    ONCE = {
        "start_to_close_timeout": timedelta(seconds=20),
        "retry_policy": RetryPolicy(maximum_attempts=1),
    }


    def note(folder: str, what: str) -> None:
        with (Path(folder) / "ledger").open("a") as file:
            file.write(f"{what} {activity.info().idempotency_key}\\n")


    @activity.defn
    def charge(folder: str) -> str:
        note(folder, "charge")
        return "paid"


    @activity.defn
    def reserve(folder: str) -> str:
        note(folder, "reserve")
        return "reserved"


    @activity.defn
    def ship(folder: str) -> str:
        note(folder, "ship")
        if not (Path(folder) / "stock").exists():
            raise ApplicationError("no stock", type="OutOfStock")
        return "shipped"


    def stepped(folder: str) -> str:
        note(folder, "step")
        return "stepped"


    @activity.defn
    def refund(folder: str) -> None:
        note(folder, "refund")


    @workflow.defn
    class Order:
        @workflow.run
        async def run(self, folder: str, refunds: bool = False) -> list[str]:
            done = [await workflow.execute_activity(charge, folder, **ONCE)]
            done.append(await workflow.step(stepped, folder, name="step"))
            done.append(await workflow.execute_activity(reserve, folder, **ONCE))
            try:
                done.append(await workflow.execute_activity(ship, folder, **ONCE))
            except ActivityError:
                if refunds:
                    await workflow.execute_activity(refund, folder, **ONCE)
                raise
            return done
"""

DONE = ["paid", "stepped", "reserved", "shipped"]
