"""What to do after a run: the next steps that a report names, by what it found."""

from __future__ import annotations

from sessionlift.reports._layout import printable
from sessionlift.reports._model import Report


def in_place(report: Report) -> bool:
    """Whether a whole file was changed, or copied, by its chain of generations."""
    return report.kind in ("upgrade", "downgrade") or report.options.get("copy") is True


def next_steps(report: Report) -> list[str]:
    """The steps, each a sentence or two with its command."""
    again = "Run the same command again: it goes on from what the ledger has."
    if in_place(report) or report.kind == "derive":
        again = "Nothing was changed. Run the same command again."
    elif report.kind == "verify":
        again = "Run the same command again."
    if report.status in ("running", "interrupted"):
        return [again]
    if report.status == "failed":
        return [f"Put right what the last error names. {again}"]
    steps = []
    if report.verification.status == "failed":
        steps.append("Do not put the target to use before the differences above are explained.")
    # of what no session owns a verification has findings, too
    found = report.failed_sessions or (report.kind == "verify" and report.errors)
    if found or any(counts.quarantined for counts in report.tables.values()):
        steps += _about_errors(report)
    if any(line.session_id is None and line.code in _CATALOG_CONFLICTS for line in report.errors):
        steps.append(
            "Both stores have changed what is named above since the move, each in its own way; everything else has "
            "gone back. Give both the same values and run the same command again, or take all of the new store's into "
            "a store of its own: `sessionlift rollback TARGET --all --to NEW`."
            if report.kind == "rollback"
            else "Both stores have changed the rows named above: each has its own, and everything else has moved. Give "
            "both the same values and run the same command again, or take all of the new store's into a store of its "
            "own, sessions included, from which it can be moved again: `sessionlift rollback TARGET --all --to NEW`."
        )
    if report.kind == "rollback" and any(
        line.session_id is None and line.code == "not_verified" for line in report.errors
    ):
        steps.append(
            "Systems, versions, experiments or links do not lie in the legacy store as they must: look for what else "
            "writes to it. `sessionlift rollback TARGET --all --to NEW` makes all of them in a store of their own, "
            "sessions included."
        )
    if report.kind == "plan":
        steps.append("Nothing was changed. `sessionlift migrate SOURCE TARGET` does what this plan says.")
    elif report.dry_run:
        which = "The store was not" if report.kind in ("upgrade", "downgrade") else "Neither store was"
        steps.append(f"{which} changed. Run the same command without --dry-run.")
        if any("counts as moved, though a run leaves it alone" in each for each in report.assumptions):
            steps.append("`sessionlift plan SOURCE TARGET` says what this very target would leave as it is.")
    elif report.kind == "derive":
        steps.append("Nothing to do. Run the same command again at any time: it writes only what is new.")
    elif report.kind in ("upgrade", "downgrade") and report.digests is None:
        steps.append("Nothing to do. `sessionlift session-buddy verify STORE` checks the store as it is.")
    elif report.kind in ("upgrade", "downgrade"):
        steps.append("Nothing to do. `sessionlift verify --report FILE` holds the store against its backup.")
    elif report.kind == "rollback" and not steps:
        steps.append("Nothing to do. `sessionlift migrate` moves the sessions again when you say so.")
    elif report.kind not in ("verify", "rollback") and report.verification.status == "not_run":
        # the report of a bridge, and of a backfill, claims no rows
        which = "SOURCE TARGET" if report.kind == "bridge" else "--report FILE"
        steps.append(f"Nothing was compared yet: `sessionlift verify {which}` does it.")
    elif report.kind == "verify" and not steps:
        steps.append("Nothing to do. The same command computes all of this again.")
    elif not steps:
        steps.append("Nothing to do. `sessionlift verify --report FILE` computes all of this again from both stores.")
    return steps


def without_report(report: Report) -> str:
    """What to do where a command came to its end and its report could not be written."""
    room = "make room, or say --report-file"
    if report.dry_run or report.kind in ("verify", "plan"):
        return f"{room}, and run the same command again: no store was changed"
    if in_place(report) or report.kind == "derive":
        return f"{room}; `sessionlift session-buddy verify STORE` checks the store as it is"
    return f"{room}; `sessionlift verify SOURCE TARGET` compares the stores again"


_CATALOG_CONFLICTS = ("changed_on_both_sides", "legacy_changed")


def _about_errors(report: Report) -> list[str]:
    """What to do about rows in quarantine and sessions that were left alone, by the codes of the errors."""
    # what belongs to no session has a step of its own
    own_step = (*_CATALOG_CONFLICTS, "not_verified")
    codes = {line.code for line in report.errors if line.session_id is not None or line.code not in own_step}
    aside = "still_in_quarantine" in codes or any(counts.quarantined for counts in report.tables.values())
    kept = "What is in quarantine is kept whole in the ledger, in the table sessionlift_quarantine; once the cause is "
    if report.kind == "plan":
        kept = "A move keeps what it puts into quarantine whole in the target's ledger. Once the cause is "
    steps = [
        f"Look at the errors above. {kept}gone, run the same command again."
        if aside
        else "Look at the errors above. Once their cause is gone, run the same command again."
    ]
    if report.kind == "rollback":
        steps += _about_rollback(report, codes)
    if report.kind == "verify":
        steps += [step for code, step in _ABOUT_FINDINGS.items() if code in codes]
    from_swarm = report.source is not None and report.source.generation == "langswarm.v1"
    if "history_unreadable" in codes or ("still_in_quarantine" in codes and from_swarm):
        steps.append("With --salvage, the messages of a broken history that can be read move; the rest is kept.")
    if codes & {"session_conflict", "changed_on_both_sides"} and not from_swarm and report.kind != "rollback":
        steps.append(
            "Both sides went on with a session: `sessionlift rollback TARGET --session ID --on-conflict keep-legacy`, "
            "and then `sessionlift migrate`, takes the legacy store's; what the new program wrote is kept in the "
            "ledger."
        )
    elif "session_conflict" in codes:
        steps.append(
            "Both sides went on with a session: `sessionlift catch-up SOURCE TARGET --on-conflict append_legacy` puts "
            "the legacy messages behind the new ones, `--on-conflict keep_new` keeps them in quarantine."
        )
    if "changed_on_both_sides" in codes and from_swarm:
        steps.append("`sessionlift catch-up SOURCE TARGET` lays both sides of a session together, or says why not.")
    return steps


_ABOUT_FINDINGS = {
    "changed_in_source": "What the old program has changed since: `sessionlift migrate SOURCE TARGET` moves it again, "
    "where the target is as it was moved.",
    "changed_in_target": "What was changed in the target since follows from no source. If your application did that, "
    "nothing is wrong, and `sessionlift rollback TARGET` takes it back whole; if not, look for what else writes there.",
}


def _about_rollback(report: Report, codes: set[str]) -> list[str]:
    """What takes a session back, or leaves it behind, that a rollback had to leave alone."""
    one = "`sessionlift rollback TARGET --session ID"
    there = f" --to {printable(str(report.options['to']))}" if report.options.get("to") else ""
    anew = f"{one} --to NEW`{', without --discard-new,' if report.options.get('discard_new') else ''}"
    steps = {
        "legacy_changed": "A session that both sides have changed stays in the new store, whole. To leave it as the "
        f"legacy store has it: {one}{there} --on-conflict keep-legacy`; its new writes are kept in the ledger.",
        "legacy_lacks_session": f"A session that the legacy store has lost: {anew} rebuilds it in a store of its own.",
        "legacy_refused": f"A session that the legacy store refuses: {anew} rebuilds it in a store of its own.",
        "not_verified": "What does not lie in the legacy store as it must stays in the new store, whole. Look at the "
        f"differences and for what else writes to the legacy store; {anew} rebuilds a session in a store of its own.",
        "rows_left": "Rows under the id of a session that is not in the new store: stop what writes them, save what is "
        "wanted of them, and delete them.",
        "target_busy": "A session that does not come to rest: stop the application that writes to it.",
        **dict.fromkeys(
            ("target_unreadable", "nested_too_deeply"),
            "A session that nothing can read from the new store, the application neither: mend the row that is named.",
        ),
    }
    return list(dict.fromkeys(step for code, step in steps.items() if code in codes))
