from __future__ import annotations

import asyncio
from collections.abc import Sequence

from netlab.diego.rep.batch import Batch
from netlab.errors import KernelError


def test_what_is_asked_for_together_is_done_together() -> None:
    done: list[list[int]] = []

    async def body() -> None:
        batch = Batch[int](lambda items: done.append(list(items)))
        await asyncio.gather(*(batch.do(number) for number in range(3)))
        await batch.do(3)

    asyncio.run(body())
    assert done == [[0, 1, 2], [3]]


def test_only_the_culprit_fails() -> None:
    done: list[int] = []

    def work(items: Sequence[int]) -> None:
        if 1 in items:
            raise KernelError("one is bad")
        done.extend(items)

    async def body() -> list[BaseException | None]:
        batch = Batch[int](work)
        return await asyncio.gather(*(batch.do(number) for number in range(3)), return_exceptions=True)

    first, second, third = asyncio.run(body())
    assert (first, str(second), third) == (None, "one is bad", None)
    assert done == [0, 2]
