"""The process that looks at a legacy store after a rollback has written to it; it makes digests and counts, and
names what differs of a session."""

from __future__ import annotations

import resource
import sys
from dataclasses import asdict

from sessionlift.errors import MemoryShortError, SessionliftError
from sessionlift.runs._protocol import receive, say, send, unreadable
from sessionlift.runs.verifier import open_legacy_reader
from sessionlift.stores import parse_store_url


def main() -> int:
    request = receive(sys.stdin)
    if request is None:
        return 0
    try:
        with open_legacy_reader(request["generation"], parse_store_url(request["legacy"])) as reader:
            while (order := receive(sys.stdin)) is not None:
                if order["kind"] == "catalog":
                    send(sys.stdout, {"type": "catalog", "digest": reader.catalog()})
                    continue
                if order["kind"] == "compare":
                    compared = reader.compare(order["session_id"], order["made"])
                    told = [asdict(each) for each in compared.differences]
                    send(sys.stdout, {"type": "compared", "differences": told, "more": compared.more})
                    continue
                found = reader.sessions(order["ids"])
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                send(
                    sys.stdout,
                    {"type": "lying", "digests": found.digests, "rows": found.rows, "peak_memory_mb": peak},
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
