"""What a change in place leaves out or keeps aside, as its report tells it."""

from __future__ import annotations

from collections.abc import Sequence

from sessionlift.reports import Loss, Report, SourceFact


def tell_own(report: Report, taken_out: Sequence[str], dangling: Sequence[str], left_out: Sequence[str]) -> None:
    """The user's own objects that need what went, each by its name."""
    kept = "sessionlift_kept, as they were made"
    _tell(report, "kept_aside", taken_out, "that need what went", f"{kept}; they come back with the next upgrade")
    _tell(
        report,
        "withheld",
        left_out,
        "that the store refuses by now",
        f"{kept} (table_name 'sqlite_master', column_name 'sql'): mend what stands against them, and a way down and up "
        "again brings them back",
    )
    if dangling:
        meaning = "your own views and tables that need what went, and lead nowhere until the next upgrade: "
        report.source_facts.append(
            SourceFact(
                code="dangling", count=len(dangling), meaning=meaning + "; ".join(dangling), examples=list(dangling)
            )
        )


def _tell(report: Report, code: str, objects: Sequence[str], which: str, kept: str) -> None:
    if objects:
        report.losses.append(
            Loss(
                code=code,
                table="sqlite_master",
                count=len(objects),
                meaning=f"your own triggers and indexes {which}: {'; '.join(objects)}",
                original_kept_in=kept,
                examples=list(objects),
            )
        )


def loss_of(name: str, count: int, meaning: str, code: str) -> Loss:
    when = "with the next upgrade" if code == "kept_aside" else "with a later upgrade, once it is there again"
    table, _, column = name.partition(".")
    return Loss(
        code=code,
        table=table,
        column=column or None,
        count=count,
        meaning=meaning,
        original_kept_in=f"sessionlift_kept, value by value; they come back {when}",
    )
