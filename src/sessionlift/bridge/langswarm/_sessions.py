"""The operations on sessions of both stores, written once; both APIs, with and without coroutines, are made of them.

Where a session lives is asked anew by each operation, and each write asks the ledger again inside its transaction: a
move, a rollback or a delete by another process is found out at the next use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from sessionlift.bridge import BridgeCore, Place
from sessionlift.bridge.langswarm import _new_store as new_store
from sessionlift.bridge.langswarm import _new_writes as new_writes
from sessionlift.bridge.langswarm._legacy_side import LegacySide, LegacyWriter
from sessionlift.bridge.langswarm._new_store import Key, Stored
from sessionlift.bridge.langswarm._provider import Providers, Reply
from sessionlift.bridge.langswarm._steps import Ask, Ensure, Legacy, Run, Steps
from sessionlift.bridge.langswarm._texts import json_object, storable
from sessionlift.bridge.langswarm._values import (
    MessageRole,
    SessionBackend,
    SessionContext,
    SessionMessage,
    SessionStatus,
    member,
    require_kinds,
    status_of,
    utc_now,
)
from sessionlift.converters import SESSION
from sessionlift.errors import (
    ConversionError,
    SessionConflictError,
    SessionExistsError,
    SessionInLegacyError,
    SessionNotFoundError,
    StoreFormatError,
    StoreLockedError,
    UsageError,
)
from sessionlift.ledger import Ledger
from sessionlift.stores import Store

T = TypeVar("T")

ROOM = 10_000
"""max_messages of a new session; V2's own 100 lets its next send through a provider delete what is older."""

UNREADABLE = (ConversionError, StoreFormatError)
"""What a session raises that nobody can read."""

_HERE = ("moved", "partial", "deleted")
"""States of sessions whose legacy row is no longer listed."""
_ATTEMPTS = 4
_FIELDS = ("user_id", "provider", "model", "backend", "max_messages", "auto_archive", "persist_messages",
           "provider_session_id")  # fmt: skip
_STORED_STATUS = {"paused": "inactive"}
"""A status is kept by V1's name where V1 has one, so that the old API shows it."""


class Sessions:
    """What the fronts share. Every operation is a generator of steps; see ``_steps.py``."""

    def __init__(
        self, core: BridgeCore, legacy: LegacySide, providers: Providers, writer: LegacyWriter | None = None
    ) -> None:
        self.core, self.legacy, self.providers, self.writer = core, legacy, providers, writer
        self._unreadable: set[Key] = set()
        """as they were listed; with another text or time they are tried again"""

    # --- reading ----------------------------------------------------------------------------------------------

    def find(self, session_id: str, *, complement: bool = False) -> Steps[Stored | None]:
        """The session from wherever it lives now; None where no store has it. A first use moves it.

        One statement where it has moved and the legacy store was not written to since.
        """
        _usable(session_id)
        read = new_store.read_with_complement if complement else new_store.read
        work = partial(_read, read, session_id)
        stored: Stored | None = yield Run(work)
        if stored is not None and (stored.state == "deleted" or self.core.fresh(session_id)):
            return stored
        for _ in range(_ATTEMPTS):
            place: Place = yield Ensure(session_id)
            if place.where == "new":
                stored = yield Run(work)
                if stored is not None:
                    stored.error = place.error
                    return stored
            elif place.where == "legacy":
                stored = yield Legacy(partial(self.legacy.stored, session_id, place.error))
                if stored is not None:
                    return stored
            else:
                return None
        raise _restless(session_id)

    def get(self, session_id: str, *, complement: bool = False) -> Steps[Stored]:
        """The session. Raises SessionNotFoundError where no store has it any more."""
        stored = yield from self.find(session_id, complement=complement)
        if stored is None:
            raise not_found(session_id)
        return stored

    def keys(self, user_id: str | None = None) -> Steps[list[Key]]:
        """The sessions of both stores, each once, the last used first. Moves nothing."""
        if user_id is not None:
            _usable(user_id)
        legacy: list[Key] = yield Legacy(partial(self.legacy.keys, user_id))
        # what is not known as moved now and moves before the next statement is in its answer
        known: set[str] = yield Run(partial(self._not_listed, [key.session_id for key in legacy]))
        new: list[Key] = yield Run(partial(new_store.keys, user_id=user_id))
        known.update(key.session_id for key in new)
        merged = new + [key for key in legacy if key.session_id not in known]
        merged.sort(key=lambda key: key.session_id)
        merged.sort(key=lambda key: str(key.updated_at), reverse=True)
        return merged

    def _not_listed(self, ids: list[str], store: Store) -> set[str]:
        """Those whose row in the legacy store does not count: it was moved from there, or lives in another one."""
        units = Ledger(store).units(SESSION, ids) if ids else {}
        here = {session_id for session_id, unit in units.items() if unit.state in _HERE}
        return here | self.core.elsewhere(store, units)

    def page(
        self,
        user_id: str | None,
        *,
        matches: Callable[[Key], bool] | None = None,
        limit: int = 100,
        offset: int = 0,
        complement: bool = False,
    ) -> Steps[list[Stored]]:
        """The sessions at these places of ``keys``, from where they are: being listed is no use, and moves nothing.

        One that nobody can read takes no place, so that only the last page is shorter than ``limit``.
        """
        if limit < 0 or offset < 0:
            raise UsageError(f"limit and offset must not be negative: {limit}, {offset}", hint="both count sessions")
        found = yield from self.keys(user_id)
        if matches is not None:
            found = [key for key in found if matches(key)]
        listed: list[Stored] = []
        for key in [key for key in found if key not in self._unreadable][offset:]:
            if len(listed) == limit:
                break
            stored = yield from self._shown(key.session_id, complement)
            if stored is not None:
                listed.append(stored)
            else:
                self._unreadable.add(key)
        return listed

    def _shown(self, session_id: str, complement: bool) -> Steps[Stored | None]:
        read = new_store.read_with_complement if complement else new_store.read
        try:
            stored: Stored | None = yield Run(partial(_read, read, session_id))
            if stored is None:
                stored = yield Legacy(partial(self.legacy.stored, session_id))
            if stored is not None:
                _ = stored.context, stored.messages
        except UNREADABLE as error:
            # one session that nobody can read must not empty the list
            self.core.note(error.code, error.what, session_id)
            return None
        return stored

    # --- writing ----------------------------------------------------------------------------------------------

    def create(
        self, context: SessionContext, *, now: datetime | None = None, complement: bool = False
    ) -> Steps[Stored]:
        """Write a new session, in the new store whatever the rollout says. Raises SessionExistsError."""
        yield from self.require_free(context.session_id)
        yield Run(partial(new_writes.create, context=context, now=now))
        return (yield from self.get(context.session_id, complement=complement))

    def require_free(self, session_id: str) -> Steps[None]:
        """Raises SessionExistsError for an id that one of the stores has, or that was deleted."""
        _usable(session_id)
        # the new store first: a session that has moved, or was deleted since, is in V1's store all the same
        yield Run(partial(new_writes.require_free, session_id=session_id))
        in_legacy: bool = yield Legacy(partial(self.legacy.holds, session_id))
        if in_legacy:
            raise SessionExistsError(
                f"session {session_id!r} is in the legacy store",
                hint="choose another id, or use the session",
                session_id=session_id,
            )

    def append(self, session_id: str, messages: Sequence[SessionMessage]) -> Steps[list[SessionMessage]]:
        """Append messages; returns them as they were stored."""
        stored: list[SessionMessage] | None = yield from self._write(
            session_id,
            lambda store: new_writes.append(store, session_id, messages),
            lambda writer: writer.append(session_id, messages),
        )
        if stored is not None:
            return stored
        now = yield from self.get(session_id)
        return now.messages[-len(messages) :]

    def exchange(
        self, session_id: str, message: SessionMessage, name: Callable[[Stored, Reply], str] | None = None
    ) -> Steps[tuple[SessionMessage, SessionMessage]]:
        """Ask the provider, then store the message and the answer together; returns both.

        Nothing waits for the provider but the caller; what others append meanwhile comes before. ``name`` gives the
        answer an id.
        """
        stored = yield from self.get(session_id)
        self._check(stored)
        reply: Reply = yield Ask(stored.context, [*stored.messages, message])
        answer = answer_of(reply)
        if name is not None:
            answer.id = name(stored, reply)
        both = yield from self.append(session_id, [message, answer])
        if reply.provider_session_id is not None and reply.provider_session_id != stored.context.provider_session_id:
            yield from self.update(session_id, {"provider_session_id": reply.provider_session_id})
        return both[0], both[1]

    def clear(self, session_id: str) -> Steps[None]:
        yield from self._write(
            session_id, lambda store: new_writes.clear(store, session_id), lambda writer: writer.clear(session_id)
        )

    def update(self, session_id: str, changes: Mapping[str, Any]) -> Steps[None]:
        """Change fields of the context by their names, anything else in its ``provider_context``."""
        change = context_change(changes)
        yield from self._write(
            session_id,
            lambda store: new_writes.change_context(store, session_id, change),
            lambda writer: writer.update(session_id, _for_v1(changes)),
        )

    def add_tokens(self, session_id: str, count: int) -> Steps[None]:
        """Add to the total that V1 keeps, in the transaction that reads it: others may be adding, too."""
        stored = yield from self.get(session_id)
        if stored.where == "legacy":
            before = stored.context.provider_context.get("total_tokens", 0)
            if isinstance(before, int):
                yield from self.update(session_id, {"total_tokens": before + count})
            return

        def change(data: dict[str, Any]) -> None:
            of_v1 = data.get("provider_context") or {}
            before = of_v1.get("total_tokens")
            # without one of V1's own, the total is that of V2's metrics, which has counted the message already
            if isinstance(before, int):
                data["provider_context"] = {**of_v1, "total_tokens": before + count}

        yield Run(partial(new_writes.change_context, session_id=session_id, change=change))

    def archive(self, session_id: str) -> Steps[None]:
        yield from self.update(session_id, {"status": SessionStatus.ARCHIVED})

    def delete(self, session_id: str) -> Steps[bool]:
        """Delete the session for good; false if no store has it. It does not come back from the legacy store."""
        _usable(session_id)
        place: Place = yield Ensure(session_id)
        if place.where in ("absent", "deleted"):
            return False
        yield Run(partial(self._delete, session_id))
        if place.where == "legacy" and self.writer is not None:
            yield Legacy(partial(self.writer.delete, session_id))
        return True

    def _delete(self, session_id: str, store: Store) -> None:
        with store.transaction():
            self.core.delete(store, session_id)

    def _write(
        self, session_id: str, work: Callable[[Store], T], in_legacy: Callable[[LegacyWriter], None]
    ) -> Steps[T | None]:
        """``work`` where the session lives in the new store; ``in_legacy``, and None, where V1's own objects write."""
        _usable(session_id)
        if self.core.fresh(session_id):
            try:
                done: T = yield Run(work)
            except SessionNotFoundError:
                pass  # it has left the new store since: where it is now, the core knows
            else:
                return done
        for _ in range(_ATTEMPTS):
            place: Place = yield Ensure(session_id)
            if place.where == "new":
                if isinstance(place.error, SessionConflictError):
                    raise place.error
                try:
                    done = yield Run(work)
                except SessionNotFoundError:
                    continue
                return done
            if place.where != "legacy":
                raise not_found(session_id)
            if self.writer is None:
                raise in_legacy_error(session_id, place.error)
            yield Legacy(partial(in_legacy, self.writer))
            return None
        raise _restless(session_id)

    def _check(self, stored: Stored) -> None:
        """Refuse before a provider is asked what could not be stored afterwards."""
        if stored.where == "legacy" and self.writer is None:
            raise in_legacy_error(stored.session_id, stored.error)
        if stored.where == "new" and isinstance(stored.error, SessionConflictError):
            raise stored.error


def new_message(content: Any, role: Any, metadata: Mapping[str, Any]) -> SessionMessage:
    """A message that is about to be stored. Raises UsageError for one that V2 could not hold."""
    text = storable(content, "a message's content")
    return SessionMessage(
        f"msg_{uuid4().hex[:8]}", member(MessageRole, role, "role of a message"), text, utc_now(), dict(metadata)
    )


def answer_of(reply: Reply) -> SessionMessage:
    """A provider's reply as a message."""
    return SessionMessage(
        f"msg_{uuid4().hex[:8]}",
        MessageRole.ASSISTANT,
        reply.content,
        utc_now(),
        dict(reply.metadata),
        reply.provider_message_id,
        reply.token_count,
        reply.finish_reason,
    )


def context_change(changes: Mapping[str, Any]) -> new_writes.Change:
    """The change of ``context_data`` that ``update_context(**changes)`` asks for. Raises UsageError."""
    if "session_id" in changes:
        raise UsageError("a session's id cannot be changed", hint="create another session")
    fields = {name: changes[name] for name in _FIELDS if name in changes}
    merged = changes.get("provider_context", {})
    require_kinds({**fields, "provider_context": merged})
    if "backend" in fields:
        fields["backend"] = member(SessionBackend, fields["backend"], "backend").value
    others = {**merged, **{name: _plain(name, value) for name, value in changes.items()
                           if name not in _FIELDS and name != "provider_context"}}  # fmt: skip

    def change(data: dict[str, Any]) -> None:
        data.update(fields)
        if others:
            # what V1 had of the session stands there too: it is added to, and never replaced as a whole
            data["provider_context"] = {**(data.get("provider_context") or {}), **others}

    return change


def status_in(key: Key) -> SessionStatus:
    """The status of a session in a list. Raises StoreFormatError."""
    context = json_object(key.context, session_id=key.session_id, column="context_data")
    return status_of((context.get("provider_context") or {}).get("status"))


def not_found(session_id: str) -> SessionNotFoundError:
    return SessionNotFoundError(
        f"session {session_id!r} is in neither store", hint="it never was there, or was deleted", session_id=session_id
    )


def in_legacy_error(session_id: str, error: Exception | None) -> SessionInLegacyError:
    """Why a session cannot be written to. The legacy store is never written by the bridge."""
    reason = f": {error}" if error is not None else ", where the rollout leaves it"
    return SessionInLegacyError(
        f"session {session_id!r} is served from the legacy store{reason}",
        hint="raise the rollout's share, mend what keeps it from moving, or give the bridge a legacy_writer",
        session_id=session_id,
    )


def _read(read: Callable[[Store, str], Stored | None], session_id: str, store: Store) -> Stored | None:
    return read(store, session_id)


def _plain(name: str, value: Any) -> Any:
    if name == "status":
        text = value.value if isinstance(value, Enum) else value
        return _STORED_STATUS.get(text, text)
    return value


def _for_v1(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes by V1's names: what stands in ``provider_context`` does so already."""
    merged = {**changes, **changes.get("provider_context", {})}
    for name in ("provider_context", "backend"):
        merged.pop(name, None)
    ours = merged.pop("provider_session_id", None)
    if ours is not None and not {"provider_thread_id", "provider_conversation_id"} & merged.keys():
        merged["provider_thread_id"] = ours
    return {name: _plain(name, value) for name, value in merged.items()}


def _usable(text: Any) -> None:
    """Raises UsageError for an id that no store can hold."""
    storable(text, "an id")


def _restless(session_id: str) -> StoreLockedError:
    return StoreLockedError(
        f"session {session_id!r} kept moving between the stores",
        hint="is a rollback or a delete at work? try again",
        session_id=session_id,
    )
