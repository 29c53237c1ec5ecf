"""One way of writing an operation, for threads and for coroutines: a generator that yields what has to be done.

An operation is written once, in ``_sessions.py``. It yields a step where it needs a store, the core or a provider, and
gets the answer back, or the error raised at that place. ``drive`` does the steps in this thread, ``adrive`` does them
off the event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

from sessionlift.bridge import AsyncBridgeCore, BridgeCore
from sessionlift.bridge.langswarm._provider import Providers, Reply
from sessionlift.bridge.langswarm._values import SessionContext, SessionMessage
from sessionlift.stores import Store

T = TypeVar("T")


class Run(NamedTuple):
    """``work`` with the opened target."""

    work: Callable[[Store], Any]


class Ensure(NamedTuple):
    """Where the session lives, moved now if the rollout says so."""

    session_id: str


class Legacy(NamedTuple):
    """``work`` with the legacy store, or with the application's own objects of V1."""

    work: Callable[[], Any]


class Ask(NamedTuple):
    """The provider's reply."""

    context: SessionContext
    messages: Sequence[SessionMessage]


Step = Run | Ensure | Legacy | Ask
Steps = Generator[Step, Any, T]


class LoopThread:
    """An event loop in a thread of its own, begun at first use: providers are coroutines, and keep their connections
    on one loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def ask(self, providers: Providers, step: Ask) -> Reply:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="sessionlift-providers", daemon=True
                )
                self._thread.start()
        return asyncio.run_coroutine_threadsafe(providers.ask(step.context, step.messages), self._loop).result()

    def close(self) -> None:
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()


def drive(steps: Steps[T], core: BridgeCore, providers: Providers, loop: LoopThread) -> T:
    """Do an operation's steps in this thread."""

    def answer(step: Step) -> Any:
        if isinstance(step, Run):
            return core.run(step.work)
        if isinstance(step, Ensure):
            return core.ensure(step.session_id)
        if isinstance(step, Legacy):
            return step.work()
        return loop.ask(providers, step)

    try:
        step = next(steps)
        while True:
            try:
                found = answer(step)
            except Exception as error:  # noqa: BLE001 - raised in the operation, at the step that met it
                step = steps.throw(error)
            else:
                step = steps.send(found)
    except StopIteration as end:
        done: T = end.value
        return done


async def adrive(steps: Steps[T], core: AsyncBridgeCore, providers: Providers) -> T:
    """Do an operation's steps with nothing that waits on the event loop's thread."""

    async def answer(step: Step) -> Any:
        if isinstance(step, Run):
            return await core.run(step.work)
        if isinstance(step, Ensure):
            return await core.ensure(step.session_id)
        if isinstance(step, Legacy):
            return await asyncio.to_thread(step.work)
        return await providers.ask(step.context, step.messages)

    try:
        step = next(steps)
        while True:
            try:
                found = await answer(step)
            except Exception as error:  # noqa: BLE001 - raised in the operation, at the step that met it
                step = steps.throw(error)
            else:
                step = steps.send(found)
    except StopIteration as end:
        done: T = end.value
        return done
