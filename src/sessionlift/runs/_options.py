"""What a run was asked to do, in a form that can go to its processes, its ledger row and its report."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sessionlift.converters import TypeMapping
from sessionlift.errors import UsageError

if TYPE_CHECKING:  # each process loads the converter of its own system only
    from sessionlift.converters.langswarm import LangswarmOptions
    from sessionlift.converters.synth import SynthOptions

OnError = Literal["quarantine", "stop"]


@dataclass(frozen=True)
class TransferOptions:
    """Options of a move.

    ``timezone``: the zone of the legacy store's naive times; ``timezone_given`` is false where it was assumed.
    ``only``: session ids to move, None for all. ``on_error``: what to do with a row that cannot be converted.
    ``same_source``: the source may lack sessions that the target got from another path. ``salvage``: move what can
    be read of a session whose history is broken.
    """

    timezone: str = "UTC"
    timezone_given: bool = False
    only: tuple[str, ...] | None = None
    on_error: OnError = "quarantine"
    mapping: TypeMapping = field(default_factory=TypeMapping)
    same_source: bool = False
    salvage: bool = False

    def synth(self) -> SynthOptions:
        from sessionlift.converters.synth import SynthOptions

        return SynthOptions(timezone=self.timezone, mapping=self.mapping, only=self.only)

    def langswarm(self) -> LangswarmOptions:
        from sessionlift.converters.langswarm import LangswarmOptions

        return LangswarmOptions(timezone=self.timezone, only=self.only, salvage=self.salvage)

    def to_message(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> TransferOptions:
        only = message["only"]
        return cls(
            timezone=message["timezone"],
            timezone_given=message["timezone_given"],
            only=None if only is None else tuple(only),
            on_error=message["on_error"],
            mapping=TypeMapping(**message["mapping"]),
            same_source=message["same_source"],
            salvage=message["salvage"],
        )


def refuse_choices(
    options: TransferOptions, understood: Collection[str], why: str, *, beside: Mapping[str, bool] | None = None
) -> None:
    """Raise UsageError, which says ``why``, for what ``options`` say (as the command line has it) that is not
    ``understood``: it would be passed over in silence. ``beside``: what else may have been said, and whether it was."""
    given = {
        "--only": options.only is not None,
        "--timezone": options.timezone_given,
        "--mapping": options.mapping != TypeMapping(),
        "--salvage": options.salvage,
        "--on-error": options.on_error != "quarantine",
        "--same-source": options.same_source,
        **(beside or {}),
    }
    if named := [name for name, there in given.items() if there and name not in understood]:
        raise UsageError(why, hint=f"leave out {', '.join(named)}")


def assumptions(options: TransferOptions) -> list[str]:
    """What a report says was assumed, or told, of the legacy store's times."""
    if options.timezone_given:
        return [f"naive times of the source are local times of {options.timezone}, as given with --timezone"]
    return ["naive times of the source were assumed to be UTC; say --timezone ZONE if the writer's clock was not"]
