"""The one tree of errors. Every error carries its data in fields; its message is built from them.

::

    SessionliftError
    ├── UsageError                  the call itself is wrong
    ├── StoreError                  a store could not be opened, read or written
    │   ├── StoreNotFoundError      nothing is there
    │   ├── StoreFormatError        it is not a store of the kind it should be (empty, text, other engine)
    │   ├── StoreTooNewError        written by a newer engine than the installed one reads
    │   ├── StoreCorruptError       truncated or damaged
    │   │   └── StoreTextError          a text in it is not UTF-8; all else can be read
    │   ├── StoreLockedError        another process holds it (transient)
    │   │   └── StoreOvertakenError     another process wrote between a look and the write that rests on it
    │   ├── StoreReadOnlyError      no permission to write there
    │   ├── StoreFullError          no space left
    │   ├── StoreConstraintError    a UNIQUE, CHECK or NOT NULL rule of the target refused a row
    │   ├── StoreAuthError          the server refused the token
    │   ├── StoreUnavailableError   the server cannot be reached or went away (transient)
    │   ├── OtherSourceError        the target holds sessions that were moved from another source
    │   └── GenerationError         a store's schema is not what the run needs
    │       ├── UnknownGenerationError  no known schema fits
    │       ├── MixedGenerationError    parts of more than one schema
    │       ├── WrongGenerationError    a known one, but not the one that this place asks for
    │       ├── NotTakenBackError       what would go with a target's schema lies nowhere else
    │       ├── DependentObjectsError   objects of the user's need what a way down takes away
    │       └── TargetNewerError        the target was made by a newer build of this tool
    ├── FidelityError               the driver would change a class of values and no exact way is known
    ├── ConversionError             a row cannot be converted
    ├── MappingFileError            the user's mapping file is wrong
    ├── RunStoppedError             ``--on-error stop`` met a row that cannot be converted
    ├── VerificationError           what was written does not read back as it was made
    ├── InterruptedRunError         a signal ended the run
    ├── WorkerLostError             a process of the run ended before its work was done
    ├── MemoryShortError            the machine, or a limit, gives no more memory, or no more threads
    ├── BackupError                 a backup is not whole, or not what its manifest says
    ├── ReportError                 a report cannot be read, or breaks its contract
    └── SessionError                a session cannot be used as was asked; raised by the bridge
        ├── SessionNotFoundError        no store holds it (any more)
        ├── SessionExistsError          its id is taken, or was used before
        ├── SessionInLegacyError        it is served from the legacy store, which is never written (transient)
        ├── SessionElsewhereError       it lives in another legacy store than the bridge has
        ├── SessionConflictError        both stores have gone on with it
        └── ProviderError               no provider can answer, or the one there failed
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar

EXIT_OK = 0
EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_SOURCE = 3
EXIT_TARGET = 4
EXIT_OUTPUT = 5
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141


class SessionliftError(Exception):
    """Base of every error this package raises on purpose.

    ``what`` says what is wrong, ``hint`` what to do next (where whoever raises it knows nothing better, what is
    usual for the kind of error). ``fields`` is ready for JSON. ``transient`` is true where the same call may go
    through later. ``exit_code`` is what the command line returns.
    """

    code: ClassVar[str] = "error"
    usual_hint: ClassVar[str] = ""
    transient: ClassVar[bool] = False
    default_exit_code: ClassVar[int] = EXIT_SOURCE

    def __init__(self, what: str, *, hint: str = "", exit_code: int | None = None, **fields: Any) -> None:
        self.what = what
        self.hint = hint or self.usual_hint
        self.fields: dict[str, Any] = {k: v for k, v in fields.items() if v is not None}
        self.exit_code = self.default_exit_code if exit_code is None else exit_code
        super().__init__(what)

    def __str__(self) -> str:
        return f"{self.what}\n  next: {self.hint}" if self.hint else self.what

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON-ready fields, for reports and ``--json``."""
        return {"code": self.code, "error": self.what, "hint": self.hint, **self.fields}


class UsageError(SessionliftError):
    """The call itself is wrong: an option, an argument, a combination of them."""

    code = "usage"
    default_exit_code = EXIT_USAGE


class StoreError(SessionliftError):
    """A store could not be opened, read or written. ``fields['store']`` is its redacted URL.

    ``role`` ("source" or "target") decides the exit code: 3 for a source, 4 for a target.
    """

    code = "store"
    usual_hint = "see whether the disk works and the store's own program reads it, then run the same command again"

    def __init__(self, what: str, *, store: str | None = None, role: str | None = None, **kw: Any) -> None:
        super().__init__(what, store=store, role=role, **kw)
        if role is not None:
            self.as_role(role)

    def as_role(self, role: str) -> StoreError:
        """Say which part this store plays in the run; returns the same error, so that it can be raised."""
        self.fields["role"] = role
        self.exit_code = EXIT_TARGET if role == "target" else EXIT_SOURCE
        return self


class StoreNotFoundError(StoreError):
    code = "store_not_found"
    usual_hint = "check the path"


class StoreFormatError(StoreError):
    code = "store_format"
    usual_hint = "check that it is the store that you mean"


class StoreTooNewError(StoreError):
    code = "store_too_new"
    usual_hint = "install a newer release, or name the store that you mean"


class StoreCorruptError(StoreError):
    code = "store_corrupt"
    usual_hint = "see whether the disk works, then run the same command again; a damaged store comes from a backup"


class StoreTextError(StoreCorruptError):
    """A text in the store is not UTF-8, which no driver gives as a text. The store is whole otherwise."""

    code = "store_text"
    usual_hint = "mend the text, or remove it"


class StoreLockedError(StoreError):
    code = "store_locked"
    usual_hint = "close the program that has it open, then run the same command again"
    transient = True


class StoreOvertakenError(StoreLockedError):
    """Nothing was written. The same, begun with a new look, may go through."""

    code = "store_overtaken"
    usual_hint = "run the same command again"


class StoreReadOnlyError(StoreError):
    code = "store_read_only"
    usual_hint = "check the permissions of the file and of its directory"


class StoreFullError(StoreError):
    code = "store_full"
    usual_hint = "make room, then run the same command again"


class StoreConstraintError(StoreError):
    code = "store_constraint"
    usual_hint = "look at the row that is named"


class StoreAuthError(StoreError):
    code = "store_auth"
    usual_hint = "check the server's token"


class StoreUnavailableError(StoreError):
    code = "store_unavailable"
    usual_hint = "see whether the server runs, then run the same command again"
    transient = True


class OtherSourceError(StoreError):
    code = "other_source"
    usual_hint = "name the store that the sessions came from, or another target"
    default_exit_code = EXIT_TARGET


class GenerationError(StoreError):
    """A store's schema is not what the run needs. ``fields['found']`` lists the evidence."""

    code = "generation"
    usual_hint = "`sessionlift detect STORE` says what it holds"


class UnknownGenerationError(GenerationError):
    code = "generation_unknown"


class MixedGenerationError(GenerationError):
    code = "generation_mixed"


class WrongGenerationError(GenerationError):
    code = "generation_wrong"


class DependentObjectsError(GenerationError):
    """Views, triggers, tables or indexes of the user's need what would go. ``fields['found']`` names each."""

    code = "dependent_objects"
    default_exit_code = EXIT_TARGET


class NotTakenBackError(GenerationError):
    """Sessions, or what the ledger keeps of them, would go with the schema of a target."""

    code = "not_taken_back"
    default_exit_code = EXIT_TARGET


class TargetNewerError(GenerationError):
    code = "target_newer"
    default_exit_code = EXIT_TARGET


class FidelityError(SessionliftError):
    """The driver would change values of a class that the run may meet, and no exact way round is known."""

    code = "fidelity"
    default_exit_code = EXIT_TARGET


class ConversionError(SessionliftError):
    """A row cannot be converted. ``fields``: ``session_id``, ``table``, ``row_id`` and ``reason_code``."""

    code = "conversion"


class MappingFileError(UsageError):
    code = "mapping_file"


class RunStoppedError(SessionliftError):
    """The run ended at the first row that cannot be converted, before anything of its session was written."""

    code = "run_stopped"
    default_exit_code = 1


class VerificationError(SessionliftError):
    """What was written does not read back as it was made; nothing of it was committed."""

    code = "verification"
    default_exit_code = EXIT_TARGET


class InterruptedRunError(SessionliftError):
    """A signal or the user ended the run. What was committed stays, and the same command goes on from there."""

    code = "interrupted"
    usual_hint = "run the same command again to go on from here"
    default_exit_code = EXIT_INTERRUPTED
    transient = True


class WorkerLostError(SessionliftError):
    """A process of the run was killed or broke down; ``fields['process']`` names it."""

    code = "worker_lost"
    transient = True


class MemoryShortError(SessionliftError):
    """There is no more memory, or no room for one more thread."""

    code = "memory_short"
    usual_hint = (
        "give it more memory (`ulimit -v` and `ulimit -u`, the container's limits), or end other programs, then run "
        "the same command again; what was committed stays"
    )
    default_exit_code = EXIT_TARGET
    transient = True

    def __init__(self, what: str = "memory is too short for what the command needs", **kw: Any) -> None:
        super().__init__(what, **kw)

    @classmethod
    def of(cls, error: BaseException) -> MemoryShortError | None:
        """Our error for one of Python's that says so; None for any other."""
        if isinstance(error, MemoryError):
            return cls()
        if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
            return cls("memory is too short, or too many threads run already: no new one can be started")
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return cls(f"memory is too short for what the command needs: {error.strerror}")
        return None


class BackupError(SessionliftError):
    """A backup is not whole, or not what its manifest says; nothing was restored from it."""

    code = "backup"
    usual_hint = "see whether the disk works, or use another backup"


class ReportError(SessionliftError):
    code = "report"
    default_exit_code = EXIT_USAGE


class SessionError(SessionliftError):
    """A session cannot be used as was asked. ``fields['session_id']`` names it."""

    code = "session"
    default_exit_code = EXIT_TARGET


class SessionNotFoundError(SessionError):
    """Neither store holds the session: it never was there, or it was deleted, from wherever."""

    code = "session_not_found"


class SessionExistsError(SessionError):
    """The id of a session to be created is taken in one of the stores, or was deleted before."""

    code = "session_exists"


class SessionInLegacyError(SessionError):
    """A write to a session that is served from the legacy store. Nothing was written."""

    code = "session_in_legacy"
    transient = True


class SessionElsewhereError(SessionError):
    """A rollback has taken the session into another legacy store, which ``fields['store']`` names. Nothing was done."""

    code = "lives_elsewhere"


class SessionConflictError(SessionError):
    """Both stores have gone on with the session. ``fields`` hold both tails."""

    code = "session_conflict"


class ProviderError(SessionError):
    """No provider is known for the session, or the provider failed. Nothing of the exchange was stored."""

    code = "provider"
