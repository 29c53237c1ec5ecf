"""A bridge in a process of its own that lives until it is closed, or killed at a write of its life.

``serve`` (of LangSwarm's sessions) and ``serve_traces`` run in a fork of the warm server; ``BridgeProcess`` is the
test's side, and speaks with it over a socket, one line of JSON each way.
"""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.warm import Outcome, Warm

Answer = dict[str, Any]


class BridgeProcess:
    """A running bridge. ``at`` is the boundary of its life at which it is killed (0: at none)."""

    def __init__(
        self,
        server: Warm,
        source: Path,
        target: Path,
        *,
        policy: str = "raise",
        at: int = 0,
        side: str = "serve",
    ) -> None:
        self._folder = tempfile.mkdtemp(prefix="bridge-")  # a socket's path must be short
        path = Path(self._folder) / "s"
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen(1)
        listening.settimeout(0.05)
        self.policy = policy
        self._outcome: list[Outcome] = []
        self._thread = threading.Thread(
            target=lambda: self._outcome.append(
                server(path, source, target, policy, call=f"tests.support.bridge_process:{side}", at=at)
            )
        )
        self._thread.start()
        self._lines: Any = None
        while self._lines is None and self._thread.is_alive():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            connection.settimeout(60)
            self._lines = connection.makefile("rw", encoding="utf-8")
            connection.close()
        listening.close()
        self.report = None if self._lines is None else self._hear()

    def ask(self, do: str, *arguments: Any) -> Answer | None:
        """What it answers; None if it was killed."""
        if self._lines is None:
            return None
        try:
            self._lines.write(json.dumps([do, *arguments]) + "\n")
            self._lines.flush()
        except OSError:
            return None
        answer: Answer | None = self._hear()
        return answer

    def _hear(self) -> Any:
        try:
            line = self._lines.readline()
        except ConnectionError:
            return None
        return json.loads(line) if line else None

    def end(self) -> Outcome:
        """Close it as an application does, if it lives; how it ended."""
        if self._lines is not None:
            self.ask("close")
            with suppress(OSError):  # of one that was killed
                self._lines.close()
            self._lines = None
        self._thread.join(60)
        assert self._outcome, "the bridge does not end"
        shutil.rmtree(self._folder, ignore_errors=True)
        return self._outcome[0]


def serve(path: str, source: str, target: str, policy: str) -> None:
    """The process's side, for LangSwarm's sessions."""
    from sessionlift.bridge.langswarm import LegacyApi, SyncSessionBridge

    lines = connected(path)
    with (
        SyncSessionBridge(source, target, conflicts=policy, retry_after=0.001) as bridge,
        LegacyApi.beside(bridge) as old,
    ):
        answer(lines, bridge.core.report, commands(bridge, old))
    lines.close()


def serve_traces(path: str, source: str, target: str, _policy: str) -> None:
    """The process's side, for Synth-AI's traces, of which no two sides are ever laid together."""
    from sessionlift.bridge.synth import SyncTraceBridge

    lines = connected(path)
    with SyncTraceBridge(source, target, retry_after=0.001) as bridge:
        assert bridge.core is not None, "nobody else has the legacy store open"
        answer(lines, bridge.core.report, trace_commands(bridge, bridge.core))
    lines.close()


def connected(path: str) -> Any:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    lines = connection.makefile("rw", encoding="utf-8")
    connection.close()
    return lines


def answer(lines: Any, report: object, work: dict[str, Callable[..., Answer]]) -> None:
    """Answer line by line, until it is said to close."""
    from sessionlift.errors import SessionliftError

    tell(lines, str(report))
    for line in lines:
        do, *arguments = json.loads(line)
        if do == "close":
            break
        try:
            found = work[do](*arguments)
        except SessionliftError as error:
            found = {"done": False, "error": error.code}
        tell(lines, found)


def tell(lines: Any, answer: Any) -> None:
    lines.write(json.dumps(answer) + "\n")
    lines.flush()


def commands(bridge: Any, old: Any) -> dict[str, Callable[..., Answer]]:
    def use(key: str) -> Answer:
        place = bridge.core.ensure(key)
        shown = bridge.get_session(key)
        return {
            "done": place.moved_now,
            "where": place.where,
            "error": None if place.error is None else place.error.code,
            "shown": None if shown is None else [message.content for message in shown.messages],
        }

    def append(key: str, content: str) -> Answer:
        session = bridge.get_session(key)
        if session is None:
            return {"done": False, "error": "absent"}
        session.append_message(content)
        return {"done": True}

    def say(key: str, content: str) -> Answer:
        return {"done": old.add_message_to_session(key, content, "user") is not None}

    def change(key: str, status: str) -> Answer:
        session = bridge.get_session(key)
        if session is None:
            return {"done": False, "error": "absent"}
        session.update_context(provider_context={"status": status})
        return {"done": True}

    def delete(key: str) -> Answer:
        return {"done": bridge.delete_session(key)}

    def create(key: str) -> Answer:
        bridge.create_session("ann", "openai", "gpt-4o", session_id=key)
        return {"done": True}

    return {"use": use, "append": append, "say": say, "set": change, "delete": delete, "create": create}


def trace_commands(bridge: Any, core: Any) -> dict[str, Callable[..., Answer]]:
    def use(key: str) -> Answer:
        place = core.ensure(key)
        trace = bridge.get_session_trace(key)
        return {
            "done": place.moved_now,
            "where": place.where,
            "error": None if place.error is None else place.error.code,
            "shown": None if trace is None else [step["step_id"] for step in trace["timesteps"]],
        }

    def delete(key: str) -> Answer:
        return {"done": bridge.delete_session(key)}

    return {"use": use, "delete": delete}
