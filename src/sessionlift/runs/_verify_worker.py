"""The verifier's process: compares the sessions it is told of, and says what it found when there are no more."""

from __future__ import annotations

import resource
import sys
from dataclasses import asdict

import duckdb

from sessionlift.errors import SessionliftError
from sessionlift.runs._protocol import error_message, receive, send
from sessionlift.runs.verifier import CANNOT_SEE, METHOD, SynthVerifier, open_reader
from sessionlift.stores import DuckdbStore, parse_store_url


def main() -> int:
    request = receive(sys.stdin)
    if request is None:
        return 0
    try:
        url = parse_store_url(request["source"])
        target = open_reader(parse_store_url(request["target"]))
        with DuckdbStore(url, memory_limit=request["memory_limit"], threads=request["threads"]) as source:
            verifier = SynthVerifier(
                source.connection,
                target,
                zone=request["zone"],
                message_types=request["message_types"],
                event_types=request["event_types"],
            )
            with source.mapped():
                while (order := receive(sys.stdin)) is not None:
                    if order["kind"] == "catalog":
                        verifier.check_catalog()
                    else:
                        for at in range(0, len(order["ids"]), SESSIONS):
                            verifier.check(order["ids"][at : at + SESSIONS])
                    send(sys.stdout, {"type": "checked", "sessions": verifier.result.sessions})
        target.close()
        result = verifier.result
        send(
            sys.stdout,
            {
                "type": "verified",
                "sessions": result.sessions,
                "rows": result.rows,
                "values": result.values,
                "differences": [asdict(each) for each in result.differences],
                "more": result.more,
                "method": METHOD,
                "cannot_see": CANNOT_SEE,
                "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            },
        )
    except SessionliftError as error:
        send(sys.stdout, error_message(error))
        return 1
    except (BrokenPipeError, KeyboardInterrupt, duckdb.InterruptException):
        return 1
    return 0


SESSIONS = 200
"""Sessions compared at a time: what bounds the memory."""


if __name__ == "__main__":
    sys.exit(main())
