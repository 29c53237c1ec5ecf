"""The verifier's process: compares the sessions it is told of, and says at the end what it found."""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path

from sessionlift.errors import MemoryShortError, SessionliftError
from sessionlift.runs._protocol import Message, receive, say, send, unreadable
from sessionlift.runs.verifier import Audit, Checker, open_reader, system_of
from sessionlift.stores import parse_store_url


def _audit(checker: Checker, order: Message) -> Audit:
    """Check everything that the ledger names, or that the digests file of a report names."""

    def progress(done: int, total: int) -> None:
        send(sys.stdout, {"type": "checked", "sessions": done, "total": total, "rows": checker.result.rows})

    auditor = checker.auditor(only=order["only"], progress=progress)
    run_id = order["run_id"]
    if run_id is None:
        return auditor.run(auditor.ledger())
    if order["digests"] is None:
        return auditor.run(auditor.claimed(run_id, None), claim=run_id)
    with Path(order["digests"]).open(encoding="utf-8") as lines:
        return auditor.run(auditor.claimed(run_id, map(json.loads, lines)), claim=run_id)


def main() -> int:
    request = receive(sys.stdin)
    if request is None:
        return 0
    audit: Audit | None = None
    changed_since = 0
    try:
        system = system_of(request["road"])
        # so far for the time that it takes to load: the stores come when both are there
        stores = receive(sys.stdin)
        if stores is None:
            return 0
        target = open_reader(parse_store_url(stores["target"]))
        with system.open(parse_store_url(stores["source"]), target, stores["options"]) as checker:
            if stores["late"]:
                checker.wait_for_indexes()
            while (order := receive(sys.stdin)) is not None:
                if order["kind"] == "audit":
                    audit = _audit(checker, order)
                    continue
                if order["kind"] == "catalog":
                    checker.check_catalog()
                elif order["kind"] == "earlier":
                    as_moved = checker.as_moved([(session, *digests) for session, *digests in order["units"]])
                    changed_since += len(order["units"]) - len(as_moved)
                    checker.check(as_moved)
                else:
                    checker.check(order["ids"])
                send(sys.stdout, {"type": "checked", "sessions": checker.result.sessions})
            checker.finish()
        target.close()
        result = checker.result
        send(
            sys.stdout,
            {
                "type": "verified",
                "sessions": result.sessions,
                "rows": result.rows,
                "values": result.values,
                "differences": [asdict(each) for each in result.differences],
                "more": result.more,
                "changed_since": changed_since,
                "method": system.method,
                "cannot_see": list(system.cannot_see),
                "audit": None if audit is None else audit.to_message(),
                "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            },
        )
    except SessionliftError as error:
        return say(error)
    except (BrokenPipeError, KeyboardInterrupt):
        return 1
    except MemoryError:
        return say(MemoryShortError())
    except OSError as error:
        return say(unreadable(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
