"""The guide's optional steps as runs: one transaction each, looked at again before it is committed, and reported."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection

from sessionlift.errors import SessionliftError, VerificationError, WrongGenerationError
from sessionlift.generations import standing
from sessionlift.reports import (
    ErrorLine,
    Report,
    SourceFact,
    TableCounts,
    Throughput,
    Verification,
    current_environment,
)
from sessionlift.runs._interrupts import Interrupts
from sessionlift.runs._locks import WAIT_SECONDS, commit, one_transaction
from sessionlift.runs._progress import Progress
from sessionlift.runs._report_files import new_run_id, report_path, store_info, tells_of_a_store, write_report
from sessionlift.runs._snapshot import in_place_url, refuse_empty
from sessionlift.runs.session_buddy._backfill import backfill
from sessionlift.runs.session_buddy._baselines import baselines
from sessionlift.runs.session_buddy._dependencies import dependencies
from sessionlift.runs.session_buddy._oddities import sessions
from sessionlift.runs.session_buddy._step_result import StepResult
from sessionlift.runs.session_buddy._taxonomy import taxonomy
from sessionlift.stores import Store

StepName = Literal["taxonomy", "backfill", "dependencies", "baselines"]
_GENERATION = "session_buddy.v4"
_STEPS: dict[StepName, Callable[..., StepResult]] = {
    "taxonomy": lambda store, _connection, **options: taxonomy(store, **options),
    "backfill": backfill,
    "dependencies": lambda store, _connection, **options: dependencies(store, **options),
    "baselines": lambda store, _connection, **options: baselines(store, **options),
}


def derive(
    store: str,
    step: StepName,
    options: dict[str, Any] | None = None,
    *,
    wait: float = WAIT_SECONDS,
    report_file: str | Path | None = None,
    interrupts: Interrupts | None = None,
) -> tuple[Report, Path | None]:
    """Do one of the steps in one transaction, and write its report; returns the report and its file.

    Raises WrongGenerationError unless the store is exactly session_buddy.v4, VerificationError (and nothing is
    written) where a second look contradicts the first, and the store errors.
    """
    where = in_place_url(store)
    run_id = new_run_id(step)
    path = report_path(where, run_id, report_file)
    report = Report(kind="derive", run_id=run_id, source=store_info(where), options={"step": step, **(options or {})})
    begun = time.monotonic()
    interrupts = interrupts or Interrupts()
    try:
        refuse_empty(where)
        with one_transaction(where, where, wait=wait) as held:
            found = standing(held.connection, where)
            if found.generation != _GENERATION:
                raise WrongGenerationError(
                    f"{where.redacted} is {found.generation}; this step writes into tables of {_GENERATION}",
                    hint="sessionlift upgrade STORE",
                    store=where.redacted,
                    role="target",
                    generation=found.generation,
                )
            report.source = store_info(where)
            report.source.system, report.source.generation = "session_buddy", found.generation
            report.target = report.source
            _tell(report, held.store, held.connection, step, options or {})
            with interrupts.held():
                commit(held)
    except SessionliftError as error:
        _close(report, begun)
        report.tables = {}
        report.errors.append(ErrorLine.of(error))
        report.finish("failed")
        written = (
            write_report(report, path, report_file, Progress(quiet=True))
            if tells_of_a_store(error, report_file)
            else None
        )
        if written is not None:
            error.fields["report"] = str(written)
        raise
    _close(report, begun)
    report.finish()
    return report, write_report(report, path, report_file, Progress(quiet=True))


def _tell(report: Report, store: Store, connection: Connection, step: StepName, options: dict[str, Any]) -> None:
    result = _STEPS[step](store, connection, **options)
    report.options["result"] = result.found
    report.total_sessions = report.skipped_sessions = sessions(store)
    report.tables = {table: TableCounts(derived=rows) for table, rows in result.written.items()}
    report.source_facts = [
        SourceFact(code=one.code, table=one.table, count=one.count, meaning=one.meaning, examples=one.examples)
        for one in result.oddities
    ]
    report.verification = Verification(
        status="passed",
        checked_rows=result.looked,
        method="before the commit the rows were counted again by another question than the one that wrote them",
        cannot_see=["a wrong formula that both questions share", "rows that another program writes afterwards"],
    )
    report.environment = current_environment({})
    if result.wrong:
        raise VerificationError(
            f"what was written does not hold: {'; '.join(result.wrong[:3])}",
            hint="nothing was written; this is a fault of ours, or rows of another making contradict each other",
            found=result.wrong,
        )


def _close(report: Report, begun: float) -> None:
    rows = sum(counts.derived for counts in report.tables.values())
    report.throughput = Throughput.measured(
        sessions=0,
        rows=rows,
        bytes=0,
        seconds=time.monotonic() - begun,
        peak_memory_mb={"run": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024},
    )
