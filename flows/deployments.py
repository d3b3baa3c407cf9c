"""Registers the flows with the Prefect server and works through their runs: `mmcore schedule`.

`retrain/nightly` runs at 02:00 UTC; `retrain/manual` waits for the form in the UI, or for
`prefect deployment run retrain/manual -p preset=nano`. One retrain works at a time, the next one waits
(`fresh_workspace`). `monitor/manual` compares a batch with the drift reference.
"""

import asyncio

from prefect import aserve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

from flows.monitor import monitor
from flows.retrain import retrain

ONE_AT_A_TIME = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)


async def work() -> None:
    """Serve the deployments until stopped."""
    await aserve(
        await retrain.ato_deployment("nightly", cron="0 2 * * *", concurrency_limit=ONE_AT_A_TIME),
        await retrain.ato_deployment("manual", concurrency_limit=ONE_AT_A_TIME),
        await monitor.ato_deployment("manual"),
        limit=3,  # a retrain of each kind, one of which waits for the other, and a monitor
    )


if __name__ == "__main__":
    asyncio.run(work())
