"""The core for coroutines: the same answers, with no statement on the event loop's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from sessionlift.bridge._core import BridgeCore
from sessionlift.bridge._place import Place
from sessionlift.bridge._rollout import Rollout
from sessionlift.errors import UsageError
from sessionlift.runs import Source
from sessionlift.stores import Store

T = TypeVar("T")


class AsyncBridgeCore:
    """A BridgeCore behind two threads of its own: one serves, one moves. Open it with ``open``.

    A coroutine that is cancelled leaves what its thread has begun to come to its end: a move is whole or not at all.
    """

    def __init__(self, core: BridgeCore) -> None:
        self.core = core
        self._serving = ThreadPoolExecutor(1, thread_name_prefix="sessionlift-serves")
        self._moving = ThreadPoolExecutor(1, thread_name_prefix="sessionlift-moves")
        self._closed = False

    @classmethod
    async def open(cls, *args: Any, **kwargs: Any) -> AsyncBridgeCore:
        """A core with the arguments of BridgeCore, opened off the event loop."""
        return cls(await asyncio.to_thread(partial(BridgeCore, *args, **kwargs)))

    @property
    def rollout(self) -> Rollout:
        """The rollout in force; may look into a file or the target's ledger."""
        return self.core.rollout

    @property
    def run_id(self) -> str:
        return self.core.run_id

    async def ensure(self, session_id: str) -> Place:
        """See BridgeCore.ensure."""
        place = await self._in(self._serving, partial(self.core.known, session_id))
        return place if place is not None else await self._in(self._moving, partial(self.core.settle, session_id))

    def fresh(self, session_id: str) -> bool:
        """See BridgeCore.fresh; a few calls of ``stat``."""
        return self.core.fresh(session_id)

    async def run(self, work: Callable[[Store], T]) -> T:
        """See BridgeCore.run; in the thread that serves."""
        return await self._in(self._serving, partial(self.core.run, work))

    async def legacy(self, work: Callable[[Source], T]) -> T:
        """See BridgeCore.legacy; in the thread that moves, which is the one that reads the legacy store."""
        return await self._in(self._moving, partial(self.core.legacy, work))

    def delete(self, store: Store, session_id: str) -> None:
        """See BridgeCore.delete; inside ``run``'s work."""
        self.core.delete(store, session_id)

    def note(self, code: str, text: str, session_id: str | None = None) -> None:
        """See BridgeCore.note."""
        self.core.note(code, text, session_id)

    async def close(self) -> None:
        """See BridgeCore.close. What was begun before comes to its end first; closing again does nothing."""
        if self._closed:
            return
        try:
            await self._in(self._moving, self.core.close)
        finally:
            self._closed = True
            self._moving.shutdown(wait=False)
            self._serving.shutdown(wait=False)

    async def _in(self, threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        if self._closed:  # its threads are gone, which the executor would say in words of its own
            raise UsageError("the bridge is closed", hint="open another one")
        return await asyncio.get_running_loop().run_in_executor(threads, call)

    async def __aenter__(self) -> AsyncBridgeCore:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
