"""Traces of both stores, for coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from sessionlift.bridge import BridgeCore
from sessionlift.bridge.synth._sync import SyncTraceBridge
from sessionlift.runs import TransferOptions
from sessionlift.stores import StoreURL

T = TypeVar("T")


class TraceBridge:
    """Synth-AI's traces of both stores, as the real v3 manager gives them; the first use of a session moves it.

    Open it with ``open``. No statement runs on the event loop's thread: one thread serves what has moved, another one
    looks into the legacy store and moves. A coroutine that is cancelled leaves what was begun to come to its end.
    """

    def __init__(self, traces: SyncTraceBridge) -> None:
        self._traces = traces
        self._serving = ThreadPoolExecutor(1, thread_name_prefix="sessionlift-serves")
        self._moving = ThreadPoolExecutor(1, thread_name_prefix="sessionlift-moves")

    @classmethod
    async def open(
        cls, source: str | StoreURL, target: str | StoreURL, options: TransferOptions | None = None, **core: Any
    ) -> TraceBridge:
        """Open both stores, off the event loop. The arguments are SyncTraceBridge's."""
        return cls(await asyncio.to_thread(partial(SyncTraceBridge, source, target, options, **core)))

    @property
    def core(self) -> BridgeCore | None:
        """See SyncTraceBridge.core."""
        return self._traces.core

    async def get_session_trace(self, session_id: str) -> dict[str, Any] | None:
        """See SyncTraceBridge.get_session_trace."""
        answer = await self._in(self._serving, partial(self._traces.at_once, session_id))
        if answer is None:
            answer = await self._in(self._moving, partial(self._traces.after_a_look, session_id))
        return answer.trace

    async def delete_session(self, session_id: str) -> bool:
        """See SyncTraceBridge.delete_session."""
        return await self._in(self._serving, partial(self._traces.delete_session, session_id))

    async def close(self) -> None:
        """See SyncTraceBridge.close. What was begun before comes to its end first."""
        await self._in(self._moving, self._traces.close)
        self._moving.shutdown(wait=False)
        self._serving.shutdown(wait=False)

    async def _in(self, threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, call)

    async def __aenter__(self) -> TraceBridge:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
