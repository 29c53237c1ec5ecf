"""How the processes of a run talk: one JSON object a line over pipes. Values travel this way only
where they differ from what they must be; everything else is facts."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from sessionlift import errors
from sessionlift.errors import EXIT_SOURCE, EXIT_TARGET, MemoryShortError, SessionliftError, WorkerLostError

Message = dict[str, Any]


def send(stream: IO[str], message: Message) -> None:
    """Write one message and push it out."""
    stream.write(json.dumps(message, separators=(",", ":")) + "\n")
    stream.flush()


def receive(stream: IO[str]) -> Message | None:
    """The next message, or None when the other side has closed its end."""
    line = stream.readline()
    if not line:
        return None
    message: Message = json.loads(line)
    return message


def _error_message(error: SessionliftError) -> Message:
    """An error of our tree, so that the other side can raise it again."""
    return {
        "type": "error",
        "class": type(error).__name__,
        "what": error.what,
        "hint": error.hint,
        "exit_code": error.exit_code,
        "fields": json.loads(json.dumps(error.fields, default=str)),
    }


def say(error: SessionliftError) -> int:
    """Send the error that ends a worker to its run, if there still is one; returns the worker's exit status."""
    try:
        send(sys.stdout, _error_message(error))
    except BrokenPipeError:
        leave(1)
    return 1


def unreadable(error: OSError) -> SessionliftError:
    """Our error for one of the system's, in a worker that only reads."""
    where = f"{error.filename} " if error.filename else "a store "
    return errors.StoreError(f"{where}could not be read: {error.strerror or error}", role="source")


def leave(status: int) -> NoReturn:
    """End this worker at once: its run is gone, and nobody would read what is still to be flushed."""
    os._exit(status)


def raise_error(message: Message) -> None:
    """Raise the error that ``message`` describes."""
    found = getattr(errors, str(message["class"]), SessionliftError)
    kind = found if isinstance(found, type) and issubclass(found, SessionliftError) else SessionliftError
    raise kind(message["what"], hint=message["hint"], exit_code=message["exit_code"], **message["fields"])


class Worker:
    """A child process that takes messages on standard input and gives messages on standard output.

    Its answers are gathered by a thread, and what it is sent is written by another one, so that neither side ever
    waits for the other's pipe. Its standard error is the run's own. Signals to the run's process group do not
    reach it: the run ends it, and when the run is killed, the end of its standard input does.
    """

    def __init__(
        self,
        module: str,
        request: Message | None = None,
        *,
        name: str,
        role: str = "source",
        temporary: Path | None = None,
    ) -> None:
        """Start ``module``, whose first message must be its ``request``: given here, or told later.

        ``role`` says which store's exit code its sudden death gives; its temporary files go into ``temporary``,
        whose owner removes them however the worker ends.
        """
        self.name, self._role = name, role
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
            env=None if temporary is None else {**os.environ, "TMPDIR": str(temporary)},
        )
        self._answers: queue.Queue[Message | None] = queue.Queue()
        self._orders: queue.Queue[Message | None] = queue.Queue()
        self._memory_short = False
        self._threads = [
            threading.Thread(target=task, name=f"{name}-{task.__name__}", daemon=True)
            for task in (self._listen, self._speak)
        ]
        for thread in self._threads:
            thread.start()
        if request is not None:
            self.tell(request)

    @property
    def pid(self) -> int:
        return self._process.pid

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was opened as a pipe
        try:
            while (message := receive(self._process.stdout)) is not None:
                self._answers.put(message)
        except MemoryError:
            self._give_up()
        finally:
            self._answers.put(None)

    def _speak(self) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was opened as a pipe
        try:
            while (message := self._orders.get()) is not None:
                send(self._process.stdin, message)
            self._process.stdin.close()
        except (BrokenPipeError, ValueError):
            return
        except MemoryError:
            self._give_up()

    def _give_up(self) -> None:
        """End the process, which would wait for this thread for ever; whoever waits for an answer is told why."""
        self._memory_short = True
        self._process.kill()

    def tell(self, message: Message) -> None:
        self._orders.put(message)

    def no_more(self) -> None:
        """Say that nothing else will be sent; the worker finishes what it has and ends."""
        self._orders.put(None)

    def answer(self, timeout: float | None = None) -> Message:
        """The next message. Raises what the worker reports as an error, and SessionliftError when it died.

        Raises ``queue.Empty`` when nothing came within ``timeout`` seconds.
        """
        message = self._answers.get(timeout=timeout)
        if message is None:
            code = self._process.wait()
            if self._memory_short:
                raise MemoryShortError()
            raise WorkerLostError(
                f"the {self.name} process {_ending(code)}",
                hint="run the same command again; what was committed stays, and the run goes on from there",
                exit_code=EXIT_TARGET if self._role == "target" else EXIT_SOURCE,
                process=self.name,
                status=code,
            )
        if message.get("type") == "error":
            raise_error(message)
        return message

    def waiting(self) -> list[Message]:
        """The messages that have come so far, without waiting. Raises as ``answer`` does."""
        found = []
        while not self._answers.empty():
            found.append(self.answer())
        return found

    def stop(self) -> None:
        """End the process, now."""
        self._orders.put(None)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        # both threads end with the process, and only then nobody else uses the pipes
        for thread in self._threads:
            thread.join(timeout=5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def _ending(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended without a word (exit status {code})"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed ({name})" + ("; is memory short?" if name == "SIGKILL" else "")
