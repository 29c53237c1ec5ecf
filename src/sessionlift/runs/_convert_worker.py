"""The converter's process: reads the legacy store, converts batch after batch, and stages each for the writer.

It is a process of its own so that reading and converting use another core than writing does, and so that the
legacy store's engine and the target's never meet. Nothing but temporary files is written here.
"""

from __future__ import annotations

import gc
import resource
import shutil
import sys
from collections import deque
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from sessionlift.converters import CATALOG, SESSION, Group
from sessionlift.errors import MemoryShortError, SessionliftError
from sessionlift.runs._batches import complete, stopped
from sessionlift.runs._catalog_merge import left_out
from sessionlift.runs._options import TransferOptions
from sessionlift.runs._pairs import read_pairs
from sessionlift.runs._protocol import Message, leave, receive, say, send
from sessionlift.runs._roads import Source, road_from
from sessionlift.runs._stage import StageWriter
from sessionlift.stores import Need, no_room, parse_store_url

AHEAD = 2
"""How many staged batches may wait for the writer."""

SNAPSHOT = "source.db"


@dataclass
class Task:
    """One batch to make: the catalog (no group), or a group of sessions, some of which are to be put aside; ``last``
    where nothing comes after it that could make room for what the target refuses."""

    group: Group | None
    rejected: dict[str, tuple[str, str]] = field(default_factory=dict)
    last: bool = False


class ConvertWorker:
    """Serves one run. Messages in: the request, then ``ok``, ``split``, ``again`` or ``later`` for each batch, in
    order."""

    def __init__(self, request: Message, source: Source) -> None:
        self._options = TransferOptions.from_message(request["options"])
        self._run_id = str(request["run_id"])
        self._stages = Path(request["stages"])
        self._source = source
        self._converter = source.forward(self._options, dict(read_pairs(request.get("kept"))))
        self._known_catalog: str | None = request["known_catalog"]
        self._leave: dict[str, set[Any]] = {}
        self._limits: dict[str, int] = request["limits"]
        self._aside: dict[tuple[str, str], str] = {(kind, key): why for kind, key, why in request["aside"]}
        self._converter.know(read_pairs(request["known"]))
        self._todo: deque[Task] = deque()
        self._waiting: deque[Task] = deque()
        self._late: dict[bool, list[str]] = {True: [], False: []}
        self._number = 0
        self._need = Need()

    def run(self) -> None:
        inventory = self._source.inventory(self._converter)
        snapshot = self._stages / SNAPSHOT
        send(
            sys.stdout,
            {
                "type": "inventory",
                "sessions": inventory.sessions,
                "rows": inventory.rows,
                "orphans": inventory.orphans,
                "bytes": inventory.bytes,
                "missing": self._source.with_room(lambda: self._converter.missing(self._options.only or ())),
                "next_ids": self._converter.next_ids(),
                "snapshot": str(snapshot) if self._source.snapshot(snapshot) else None,
                "foreign": list(self._converter.foreign()),
            },
        )
        self._work_off(Task(None))
        if self._known_catalog is not None:
            # what is moved again may have to be made in another way, and sessions name what is in it
            self._hear_all()
        for group in self._converter.groups(**self._limits):
            self._work_off(Task(group))
        self._hear_all()
        self._try_once_more()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        send(sys.stdout, {"type": "done", "peak_memory_mb": peak})

    def _try_once_more(self) -> None:
        """Make what the target refused again, after all others: what was in the way may have gone with a later batch.

        Those that were there before come first, and all of them together, since sessions that have swapped rows make
        room only for each other; then the new ones.
        """
        for changed in (True, False):
            if ids := self._late[changed]:
                # numbers the sessions anew: no batch of those before is left to be made again
                groups = self._source.with_room(partial(self._converter.pick, ids))
                self._work_off(*(Task(group, last=True) for group in groups))
                self._hear_all()

    def _work_off(self, *tasks: Task) -> None:
        """Make the tasks' batches, and those that the writer's answers ask for, a few ahead of the writer."""
        self._todo.extend(tasks)
        while self._todo:
            if len(self._waiting) >= AHEAD:
                self._hear()
            else:
                self._make(self._todo.popleft())

    def _hear_all(self) -> None:
        """Take the answers for all batches, those included that they ask for."""
        while self._waiting:
            self._hear()
            self._work_off()

    def _hear(self) -> None:
        """Take the writer's answer for the oldest batch, and note what has to be made again."""
        answer = receive(sys.stdin)
        if answer is None:
            raise BrokenPipeError("the writer has gone away")
        task = self._waiting.popleft()
        if answer["type"] == "split" and task.group is not None:
            # one session a batch, so that the one which the target refuses can be told from the others
            self._todo.extend(replace(task, group=group) for group in self._converter.singles(task.group))
        elif answer["type"] == "later":
            self._late[answer["changed"]].append(answer["session_id"])
        elif answer["type"] == "again":
            if task.group is None:
                self._known_catalog = next((digest for _, digest in answer["known"]), self._known_catalog)
                self._leave = left_out(answer.get("leave", {}))
            else:
                self._converter.know((key, digest) for key, digest in answer["known"])
            kind = CATALOG if task.group is None else SESSION
            self._aside.update({(kind, key): why for key, why in answer["aside"].items()})
            rejected = {key: (code, reason) for key, code, reason in answer["rejected"]}
            self._todo.append(replace(task, rejected={**task.rejected, **rejected}))

    def _make(self, task: Task) -> None:
        self._number += 1
        self._source.with_room(lambda: self._stage(task), self._need)

    def _stage(self, task: Task) -> None:
        path = self._stages / f"batch-{self._number:06d}.db"
        path.unlink(missing_ok=True)
        stage = StageWriter(path)
        try:
            if task.group is None:
                batch = self._converter.catalog(stage, self._known_catalog, self._leave)
            else:
                batch = self._converter.convert(task.group, stage, task.rejected)
            if batch.quarantine and self._options.on_error == "stop":
                raise stopped(batch)
            kind = CATALOG if task.group is None else SESSION
            leave = self._leave if kind == CATALOG else None
            message = complete(stage, batch, kind, run_id=self._run_id, converter=self._converter, leave=leave)
        finally:
            stage.close()
        self._waiting.append(task)
        message["stage"] = str(stage.path)
        message["may_wait"] = task.group is not None and not task.last
        message["aside"] = [[key, self._aside[kind, key]] for key in batch.unchanged if (kind, key) in self._aside]
        send(sys.stdout, message)


def main() -> int:
    request = receive(sys.stdin)
    if request is None:
        return 0
    # rows are tuples of texts and numbers: nothing here makes cycles, and looking for them takes a tenth of the time
    gc.disable()
    try:
        url = parse_store_url(request["source"])
        with road_from(request["road"]).open_source(url, request["threads"]) as source, source.mapped():
            ConvertWorker(request, source).run()
    except BrokenPipeError:
        # the writer was killed: nobody else is left to remove what it had made for the two
        shutil.rmtree(request["temporary"], ignore_errors=True)
        leave(1)
    except SessionliftError as error:
        return say(error)
    except MemoryError:
        return say(MemoryShortError())
    except OSError as error:
        return say(no_room(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
