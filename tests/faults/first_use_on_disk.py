"""A program that uses sessions for the first time, each time it is told to, on a disk that may fail then.

One line of JSON in: the two stores and the ids. A forked child opens a bridge and uses each session; one line out:
by session where it is served from, or the error's code, and what the child said on standard error.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

from sessionlift.bridge import BridgeCore
from sessionlift.errors import SessionliftError


def use(source: str, target: str, ids: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        with BridgeCore(source, target, retry_after=0.0) as core:
            for each in ids:
                try:
                    place = core.ensure(each)
                    found[each] = place.where if place.error is None else f"{place.where} {place.error.code}"
                except SessionliftError as error:
                    found[each] = f"error {error.code}"
    except SessionliftError as error:
        found["bridge"] = f"error {error.code}"
    return found


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryDirectory() as folder:
            answer = Path(folder) / "answer"
            child = os.fork()
            if child == 0:
                try:
                    said = json.dumps(use(*request))
                except BaseException:  # noqa: BLE001 - a fork may never return into the loop
                    said = json.dumps({"traceback": traceback.format_exc()})
                answer.write_text(said)
                os._exit(0)
            os.waitpid(child, 0)
            sys.stdout.write(answer.read_text() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
