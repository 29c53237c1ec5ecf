"""What a report claims about a run, held against what the verifier counted again."""

from __future__ import annotations

from collections.abc import Iterator

from sessionlift.reports import Report
from sessionlift.runs._protocol import Message

LEGACY_TAIL_KEPT = "legacy_tail_kept"
"""A loss of sessions that were laid together: each is a row in quarantine."""
_AT_LEAST = "at least "
Broken = tuple[str, str, str | None]
"""A finding's code, its message and its table."""


def broken(claimed: Report, audit: Message) -> Iterator[Broken]:
    """Every count of the report that is not the one that was counted again."""
    yield from _totals(claimed, audit)
    yield from _tables(claimed, audit)
    yield from _losses(claimed, audit)


def not_recounted(claimed: Report, audit: Message) -> list[str]:
    """What of the report's claims is not counted again, for the list of what the check cannot see."""
    told = ["the source facts of the report, its bytes, times and memory, and where its examples are from"]
    clocks = sorted({loss.code for loss in claimed.losses if loss.code in audit["not_counted"]})
    if clocks:
        told.append(f"the counts of {', '.join(clocks)}, which depend on a zone's clock changes")
    if audit["in_parts"]:
        told.append(
            "whether the rows and losses that the report tells of are exact: of a session that it laid together it "
            "counts what was added alone, so that they were held against all that its sessions have"
        )
    if audit["given_back"]:
        told.append(
            f"whether the losses and the derived rows of the report are exact, since {audit['given_back']:,} of its "
            "sessions got back what the older store could not hold: they were held against those of the others"
        )
    return told


def _fits(said: int, found: int, bounds_only: int, most: int | None = None) -> bool:
    """True where the report may be right: exactly, or, of sessions that are no longer its own, within bounds."""
    if not bounds_only:
        return said == found
    return said >= found and (most is None or said <= most)


def _lost(audit: Message) -> int:
    """How many of the report's sessions a later run has moved again, or have left the target since."""
    return int(audit["moved_again"] + audit["gone_since"])


def _lost_of(table: str, audit: Message) -> int:
    """Whether some of a table's rows are no longer the report's own, since their session, or the catalog, is not."""
    return _lost(audit) or int(audit["catalog_since"] and table in audit["catalog_tables"])


def _moved_on(table: str, audit: Message) -> bool:
    """Whether rows of no session have changed in the source since, so that what was read of a table is not to be
    counted there."""
    return bool(audit["catalog_moved_on"] and table in (*audit["catalog_tables"], *audit["orphan_tables"]))


def _of_others(table: str, audit: Message) -> bool:
    """Whether sessions have changed in the source since, so that what was read of a table was counted of the others."""
    return bool(audit["sessions_moved_on"] and table not in audit["catalog_tables"])


def _orphans(table: str, claimed: Report, audit: Message) -> int:
    """Rows of no session that the report counts as read, each of which must be one in quarantine, too."""
    counts = claimed.tables.get(table)
    if counts is None or not audit["catalog_since"] or table not in audit["orphan_tables"]:
        return 0
    return max(0, counts.quarantined - int(audit["quarantined"].get(table, 0)))


def _totals(claimed: Report, audit: Message) -> Iterator[Broken]:
    moved, again = audit["units"] - audit["aside"], _lost(audit)
    if not _fits(claimed.migrated_sessions, moved, again, moved + again):
        upto = f" to {moved + again:,}" if again else ""
        yield (
            "claim_sessions",
            f"the report says {claimed.migrated_sessions:,} sessions were moved; "
            f"its digests and the ledger have {moved:,}{upto}",
            None,
        )
    if claimed.digests is not None and claimed.digests.sessions != audit["units"] + again:
        yield (
            "claim_sessions",
            f"the report says that {claimed.digests.sessions:,} sessions have digests; "
            f"there are {audit['units'] + again:,}",
            None,
        )
    if audit["run_kind"] not in (None, claimed.kind):
        yield (
            "claim_run",
            f"the report is that of a {claimed.kind}; the ledger has its run as a {audit['run_kind']}",
            None,
        )
    yield from _scope(claimed, audit)


def _scope(claimed: Report, audit: Message) -> Iterator[Broken]:
    """How many sessions a run was about: of a migration the source's, of a catch-up those that had moved."""
    only = claimed.options.get("only")
    if claimed.kind == "catch_up":
        where, there = "the ledger names", audit["known"]
        # one that was interrupted has not looked at all, and one with very many errors does not count all of these
        fewest = audit["there_before"] if claimed.status.startswith("completed") and not claimed.errors_truncated else 0
    elif only is None:
        # what only a later run has moved may not have been there yet, what was lost was told of already, one by one,
        # and what left the target since, the source may have lost with it
        where, there = "the source has", audit["source_sessions"] + audit["lost"] + audit["gone_from_both"]
        fewest = audit["source_sessions"] - (audit["later"] - audit["moved_again"])
    else:
        where, fewest, there = "it was asked for", len(set(only)), len(set(only))
    if not fewest <= claimed.total_sessions <= there:
        yield (
            "claim_total",
            f"the report says {claimed.total_sessions:,} sessions were in its scope; {where} {there:,}",
            audit["sessions_table"],
        )


def _tables(claimed: Report, audit: Message) -> Iterator[Broken]:
    names = [*claimed.tables, *(set(audit["read"]) | set(audit["written"]) | set(audit["quarantined"]))]
    for table in dict.fromkeys(names):
        counts, lost = claimed.tables.get(table), _lost_of(table, audit)
        derived = table not in audit["read"] and (counts is None or not counts.read)
        found = {
            "read": audit["read"].get(table, 0),
            "written": 0 if derived else audit["written"].get(table, 0),
            "quarantined": audit["quarantined"].get(table, 0),
            "excluded": audit["excluded"].get(table, 0),
            "derived": audit["written"].get(table, 0) if derived else 0,
        }
        found["quarantined"] += (orphans := _orphans(table, claimed, audit))
        found["read"] += orphans
        moved_on = _moved_on(table, audit)
        if moved_on:
            # where each of them has come to, was counted in the target
            found["read"] = (
                0 if audit["given_back"] else sum(found[name] for name in ("written", "quarantined", "excluded"))
            )
        for name, number in found.items():
            bound = lost or (name == "read" and (moved_on or _of_others(table, audit)))
            said = 0 if counts is None else getattr(counts, name)
            if name == "quarantined" and not audit["run_known"]:
                continue
            if name in ("written", "derived") and audit["given_back"] and said <= number:
                continue  # rows that were given back have none of the source behind them
            if audit["in_parts"] and name in ("read", "written", "derived"):
                if said > number and not bound:
                    yield (
                        f"claim_{name}",
                        f"the report says {said:,} rows of {table} were {name}; "
                        f"its sessions, counted again, have {number:,}",
                        table,
                    )
                continue
            if not _fits(said, number, bound):
                yield (
                    f"claim_{name}",
                    f"the report says {said:,} rows of {table} were {name}; "
                    f"counted again they are {_AT_LEAST if bound else ''}{number:,}",
                    table,
                )
        if (lost or audit["in_parts"]) and counts is not None and counts.written > counts.read:
            yield (
                "claim_written",
                f"the report says {counts.written:,} rows of {table} were written, of {counts.read:,} that were read",
                table,
            )


def _losses(claimed: Report, audit: Message) -> Iterator[Broken]:
    said = {(loss.code, loss.table, loss.column or ""): loss.count for loss in claimed.losses}
    found = {(code, table, column): count for code, table, column, count in audit["losses"]}
    for key in dict.fromkeys([*said, *found]):
        code, table, column = key
        counts, lost = claimed.tables.get(table), _lost_of(table, audit)
        # a table of derived rows has none that were read
        rows = 0 if counts is None else max(counts.read, counts.derived)
        if said.get(key, 0) > rows:
            yield (
                "claim_losses",
                f"the report tells of {said[key]:,} values of {table}.{column} with the loss {code}, "
                f"of {rows:,} rows that it has",
                table,
            )
            continue
        if table in audit["catalog_tables"] and _moved_on(table, audit):
            continue
        bound = lost or _of_others(table, audit)
        most = audit["quarantined"].get(table, 0) if code == LEGACY_TAIL_KEPT else found.get(key, 0)
        if audit["in_parts"]:
            if said.get(key, 0) > most and not bound:
                yield (
                    "claim_losses",
                    f"the report tells of {said[key]:,} values of {table}.{column} with the loss {code}; "
                    f"its sessions, counted again, have {most:,}",
                    table,
                )
            continue
        if not audit["run_known"] or code in audit["not_counted"] or _fits(said.get(key, 0), found.get(key, 0), bound):
            continue
        if audit["given_back"] and said.get(key, 0) >= found.get(key, 0):
            continue
        yield (
            "claim_losses",
            f"the report tells of {said.get(key, 0):,} values of {table}.{column} with the loss {code}; "
            f"counted again they are {_AT_LEAST if bound or audit['given_back'] else ''}{found.get(key, 0):,}",
            table,
        )
