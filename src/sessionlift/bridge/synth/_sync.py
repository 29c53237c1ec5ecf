"""Traces of both stores, without coroutines; the operations are here, once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple

from sessionlift.bridge import BridgeCore, Place
from sessionlift.bridge.synth._compare import ShadowCompare
from sessionlift.bridge.synth._opening import Opening
from sessionlift.bridge.synth._trace import of_converted, read
from sessionlift.errors import ConversionError, StoreLockedError, UsageError, WrongGenerationError
from sessionlift.runs import TransferOptions
from sessionlift.stores import Store, StoreURL, parse_store_url

_ATTEMPTS = 4
_SYSTEM = "synth.v3"


class Answer(NamedTuple):
    trace: dict[str, Any] | None


class SyncTraceBridge:
    """TraceBridge without coroutines; any number of threads may use it.

    The arguments are BridgeCore's: ``options``, ``rollout``, ``on_error``, ``wait``, ``conflicts``, ``reports``, ….
    A legacy store that another process holds does not keep it from opening: sessions that have moved are served.
    """

    def __init__(
        self,
        source: str | StoreURL,
        target: str | StoreURL,
        options: TransferOptions | None = None,
        **core: Any,
    ) -> None:
        legacy = parse_store_url(source) if isinstance(source, str) else source
        new = parse_store_url(target) if isinstance(target, str) else target
        if core.get("driver") == "sqlite" and new.engine == "libsql":
            new = replace(new, engine="sqlite")
        self._compare = ShadowCompare(legacy, (options or TransferOptions()).timezone)
        self._opening = Opening(
            partial(_open, legacy, new, options, {"compare": self._compare, **core}),
            new,
            wait=core.get("wait", 10.0),
            retry_after=core.get("retry_after", 5.0),
        )

    @property
    def core(self) -> BridgeCore | None:
        """What all fronts share; None as long as another process holds the legacy store."""
        return self._opening.core()

    # --- reading ----------------------------------------------------------------------------------------------

    def get_session_trace(self, session_id: str) -> dict[str, Any] | None:
        """The session's trace as the real v3 manager gives it, moved now if this is its first use.

        None only where no store has it, or it was deleted. Never None for a fault: a store that cannot be read
        raises, and so does ConversionError for a session that cannot be converted at all.
        """
        answer = self.at_once(session_id)
        return (self.after_a_look(session_id) if answer is None else answer).trace

    def at_once(self, session_id: str) -> Answer | None:
        """The answer where reading the new store is enough for it. One statement for a session that has moved, if the
        legacy store was not written to since."""
        _usable(session_id)
        core = self._opening.core()
        if core is None:
            return self._without_legacy(session_id)
        if not core.fresh(session_id):
            place = core.known(session_id)
            if place is None:
                return None
            if place.where != "new":
                return Answer(None)
        stored = core.run(partial(read, session_id=session_id))
        return Answer(stored.trace()) if stored is not None and stored.lives else None

    def after_a_look(self, session_id: str) -> Answer:
        """The answer for a session that has to be looked at in the legacy store: moved, compared or left there."""
        core = self._opening.core()
        if core is None:
            raise self._opening.held(session_id)
        for _ in range(_ATTEMPTS):
            place = core.ensure(session_id)
            if place.where == "new":
                stored = core.run(partial(read, session_id=session_id))
                if stored is not None and stored.lives:
                    return Answer(stored.trace())
            elif place.where == "legacy":
                answer = _from_legacy(core, place)
                if answer is not None:
                    return answer
            else:
                return Answer(None)
        raise StoreLockedError(
            f"session {session_id!r} kept moving between the stores",
            hint="is a rollback or a delete at work? try again",
            session_id=session_id,
        )

    def _without_legacy(self, session_id: str) -> Answer:
        """What the new store alone can say. Raises StoreLockedError for a session that may be in the legacy store."""
        known = self._opening.target_alone(partial(_read_or_gone, session_id=session_id))
        if known is None:
            raise self._opening.held(session_id)
        return known

    # --- deleting ---------------------------------------------------------------------------------------------

    def delete_session(self, session_id: str) -> bool:
        """Delete the session for good, with its events, messages and rewards; false if no store has it.

        It is not moved for that, and does not come back from the legacy store, which is not written.
        """
        _usable(session_id)
        core = self._opening.core()
        if core is None:
            raise self._opening.held(session_id)
        return core.run(partial(_delete, core, session_id))

    # --- the end ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write the window's report and close the stores. Twice does nothing."""
        self._opening.close()
        self._compare.close()

    def __enter__(self) -> SyncTraceBridge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(source: StoreURL, target: StoreURL, options: TransferOptions | None, given: dict[str, Any]) -> BridgeCore:
    core = BridgeCore(source, target, options, **given)
    if core.road.target != _SYSTEM:
        core.close(status="failed")
        raise WrongGenerationError(
            f"{source.redacted} is a store of {core.road.source}, which holds no traces",
            hint="sessionlift.bridge.langswarm serves LangSwarm's sessions",
            store=source.redacted,
            role="source",
            found=[core.road.source],
        )
    return core


def _from_legacy(core: BridgeCore, place: Place) -> Answer | None:
    converted = core.convert(place.session_id)
    if converted is None:
        return None  # it has left the legacy store since
    stored = of_converted(converted)
    if stored is not None:
        return Answer(stored.trace())
    if place.error is not None:
        raise place.error
    code, reason = next(((row.code, row.reason) for row in converted.quarantine), ("quarantined", "unknown"))
    raise ConversionError(
        f"session {place.session_id!r} is in the legacy store and cannot be converted: {reason}",
        hint="a run keeps it whole in quarantine, with the reason",
        session_id=place.session_id,
        reason_code=code,
    )


def _read_or_gone(store: Store, session_id: str) -> Answer | None:
    stored = read(store, session_id)
    if stored is not None and stored.lives:
        return Answer(stored.trace())
    states = store.query("SELECT state FROM sessionlift_units WHERE unit = 'session' AND session_id = ?", (session_id,))
    # moved and without rows: a program that knows no ledger has deleted it
    return Answer(None) if stored is None and states and states[0][0] in ("deleted", "moved", "partial") else None


def _delete(core: BridgeCore, session_id: str, store: Store) -> bool:
    with store.transaction():
        place = core.known(session_id)
        if place is not None and place.where == "deleted":
            return False
        stored = read(store, session_id)
        if (stored is None or not stored.lives) and core.convert(session_id) is None:
            return False
        core.delete(store, session_id)
        return True


def _usable(session_id: Any) -> None:
    """Raises UsageError for an id that no store can hold."""
    try:
        if isinstance(session_id, str):
            session_id.encode()
            return
    except UnicodeEncodeError:
        pass
    raise UsageError(f"{session_id!r} is no session id", hint="give a text of Unicode characters")
