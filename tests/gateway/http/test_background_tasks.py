"""Tasks that end with their gate."""

import asyncio

from joulegate.gateway.http.background_tasks import BackgroundTasks


async def test_errands_run_and_are_forgotten() -> None:
    """What has ended is not kept."""
    errands, ran = BackgroundTasks(asyncio.get_running_loop()), asyncio.Event()

    async def errand() -> None:
        ran.set()

    await errands.run(errand())
    assert ran.is_set()
    assert errands._tasks == set()


async def test_the_end_waits_for_what_is_cancelled() -> None:
    """An errand that holds something lets go of it before the gate is gone."""
    errands, let_go = BackgroundTasks(asyncio.get_running_loop()), list[int]()

    async def errand() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            let_go.append(1)

    errands.run(errand())
    await asyncio.sleep(0)
    await errands.end()
    assert let_go == [1]
    await errands.end()
