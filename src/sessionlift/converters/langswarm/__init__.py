"""LangSwarm's session stores."""

from sessionlift.converters.langswarm._backward import BackRow, backward
from sessionlift.converters.langswarm._columns import DERIVED_TABLES, SESSION_TABLES, V1_COLUMNS, V2_COLUMNS
from sessionlift.converters.langswarm._continue import Sides, continue_session, lay_together
from sessionlift.converters.langswarm._convert import LangswarmOptions, forward, keep_for_forward
from sessionlift.converters.langswarm._forward import Group, LangswarmForward
from sessionlift.converters.langswarm._legacy import LangswarmLegacyRows
from sessionlift.converters.langswarm._message import MessageCells, Told, text_of
from sessionlift.converters.langswarm._reader import LegacyReader, LiveSource
from sessionlift.converters.langswarm._row import LegacyRow, source_digest, texts_of
from sessionlift.converters.langswarm._session import (
    Aside,
    Moved,
    SessionRows,
    backend_of,
    provider_of,
    provider_session_of,
)
from sessionlift.converters.langswarm._source import LegacySource, open_legacy
from sessionlift.converters.langswarm._target import LangswarmRows, read_session
from sessionlift.converters.langswarm._way_back import LangswarmBackward

__all__ = [
    "DERIVED_TABLES",
    "SESSION_TABLES",
    "V1_COLUMNS",
    "V2_COLUMNS",
    "Aside",
    "BackRow",
    "Group",
    "LangswarmBackward",
    "LangswarmForward",
    "LangswarmLegacyRows",
    "LangswarmOptions",
    "LangswarmRows",
    "LegacyReader",
    "LegacyRow",
    "LegacySource",
    "LiveSource",
    "MessageCells",
    "Moved",
    "SessionRows",
    "Sides",
    "Told",
    "backend_of",
    "backward",
    "continue_session",
    "forward",
    "keep_for_forward",
    "lay_together",
    "open_legacy",
    "provider_of",
    "provider_session_of",
    "read_session",
    "source_digest",
    "text_of",
    "texts_of",
]
