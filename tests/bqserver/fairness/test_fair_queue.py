"""Members take turns, work that is cancelled never starts, and a full queue rejects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from bqserver.fairness.budget import Budget
from bqserver.fairness.fair_queue import FairQueue


class Work:
    """Pieces of work that end when told: ``started`` in order."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}

    def __call__(self, name: str) -> Callable[[], Coroutine[Any, Any, str]]:
        self.ends[name] = asyncio.Event()

        async def work() -> str:
            self.started.append(name)
            await self.ends[name].wait()
            return name

        return work


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_members_take_turns():
    async def scenario() -> None:
        queue, work = FairQueue(slots=1, slots_each=1, max_waiting=100, waiting_each=100), Work()
        names = ["a1", "a2", "a3", "a4", "b1", "c1", "c2"]
        tasks = [asyncio.create_task(queue.run(name[0], work(name))) for name in names]
        await settle()
        order = ["a1", "a2", "b1", "c1", "a3", "c2", "a4"]
        for number, name in enumerate(order, 1):
            assert work.started == order[:number]
            work.ends[name].set()
            await settle()
        assert await asyncio.gather(*tasks) == names

    asyncio.run(scenario())


def test_one_member_takes_only_some_of_the_slots():
    async def scenario() -> None:
        queue, work = FairQueue(slots=3, slots_each=2, max_waiting=100, waiting_each=100), Work()
        tasks = [asyncio.create_task(queue.run(name[0], work(name))) for name in ["a1", "a2", "a3", "b1"]]
        await settle()
        assert work.started == ["a1", "a2", "b1"]
        for end in work.ends.values():
            end.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_cancelled_work_never_starts_and_leaves_its_place():
    async def scenario() -> None:
        queue, work = FairQueue(slots=1, slots_each=1, max_waiting=3, waiting_each=3), Work()
        first, *others = [asyncio.create_task(queue.run(name[0], work(name))) for name in ["a1", "a2", "b1", "b2"]]
        await settle()
        for task in others[:2]:
            task.cancel()
        work.ends["a1"].set()  # the slot is free in the same turn
        await settle()
        assert work.started == ["a1", "b2"]
        again = [asyncio.create_task(queue.run(name[0], work(name))) for name in ["a3", "b3", "c3"]]
        await settle()
        for end in work.ends.values():
            end.set()
        assert await asyncio.gather(first, others[2], *again) == ["a1", "b2", "a3", "b3", "c3"]

    asyncio.run(scenario())


def test_a_turn_that_comes_with_the_cancellation_is_passed_on():
    async def scenario() -> None:
        queue, work = FairQueue(slots=1, slots_each=1, max_waiting=3, waiting_each=3), Work()
        first, second, third = [asyncio.create_task(queue.run(name[0], work(name))) for name in ["a1", "b1", "c1"]]
        await settle()
        first.cancel()  # gives its slot to b1
        await asyncio.sleep(0)
        second.cancel()
        await settle()
        work.ends["c1"].set()
        assert await third == "c1"
        with contextlib.suppress(asyncio.CancelledError):
            await second

    asyncio.run(scenario())


def test_a_full_queue_rejects():
    async def scenario() -> None:
        queue, work = FairQueue(slots=1, slots_each=1, max_waiting=3, waiting_each=2), Work()
        tasks = [asyncio.create_task(queue.run(name[0], work(name))) for name in ["a1", "a2", "a3", "a4", "b1", "b2"]]
        await settle()
        assert [isinstance(task.exception(), asyncio.QueueFull) for task in tasks if task.done()] == [True, True]
        assert tasks[3].done()  # two of a member may wait
        assert tasks[5].done()  # and three in all
        for end in work.ends.values():
            end.set()
        assert await asyncio.gather(*tasks[:3], tasks[4]) == ["a1", "a2", "a3", "b1"]

    asyncio.run(scenario())


def test_a_member_may_hold_as_much_as_is_free():
    budget = Budget(90)
    assert budget.acquire("ada", 45)
    assert not budget.acquire("ada", 1)
    assert budget.acquire("bob", 22)
    assert not budget.acquire("bob", 2)
    assert budget.acquire("cyd", 11)
    budget.release("ada", 45)
    assert budget.acquire("bob", 2)


@pytest.mark.parametrize("size", [91, 1_000])
def test_any_size_is_accepted_while_nothing_is_held(size: int):
    budget = Budget(90)
    assert budget.acquire("ada", size)
    assert not budget.acquire("bob", 1)
    budget.release("ada", size)
    assert budget.acquire("bob", 45)


def test_who_waits_gets_the_bytes_that_another_has_released():
    async def scenario() -> None:
        budget = Budget(100)
        await budget.wait("ada", 100)
        first, second = (asyncio.create_task(budget.wait(name, 40)) for name in ("bob", "eve"))
        await settle()
        budget.release("ada", 50)
        await first
        assert not second.done()
        budget.release("ada", 50)
        await second

    asyncio.run(scenario())


@pytest.mark.parametrize("released_first", [False, True])
def test_a_wait_that_is_cancelled_reserves_nothing(released_first: bool):
    async def scenario() -> None:
        budget = Budget(100)
        await budget.wait("ada", 100)
        waiting = asyncio.create_task(budget.wait("bob", 100))
        await settle()
        if released_first:
            budget.release("ada", 100)  # in the same turn as the end
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        if not released_first:
            budget.release("ada", 100)
        assert budget.acquire("eve", 60)
        assert budget.acquire("bob", 40)

    asyncio.run(scenario())
