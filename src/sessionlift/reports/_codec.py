"""Between dataclasses and JSON-ready data, by the dataclasses' own annotations.

Decoding is strict: it names every missing, unknown or ill-typed key instead of stopping at the first.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def encode(value: Any) -> Any:
    """``value`` as JSON-ready data: dataclasses become objects with their fields in order.

    What JSON has no form for is written so that a person can still read it: bytes as ``{"$bytes": hex}``, a
    float that is not finite as ``{"$float": "nan"}``. Anything else (a date, a decimal) becomes its text.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": bytes(value).hex()}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted((encode(v) for v in value), key=str)
    return value.as_posix() if isinstance(value, Path) else str(value)


def decode(wanted: Any, value: Any, problems: list[str], *, path: str = "", allow_unknown: bool = False) -> Any:
    """``value`` as an instance of ``wanted``; what does not fit is told in ``problems`` with its path.

    The result means nothing when ``problems`` has grown.
    """

    def again(inner: Any, item: Any, where: str) -> Any:
        return decode(inner, item, problems, path=where, allow_unknown=allow_unknown)

    if wanted is Any:
        return value
    origin = get_origin(wanted)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (inner,) = (arm for arm in get_args(wanted) if arm is not type(None))
        return again(inner, value, path)
    if origin is Literal:
        if value not in get_args(wanted) or not isinstance(value, str):
            problems.append(f"{path or 'the report'} is {_show(value)}, not one of {', '.join(get_args(wanted))}")
        return value
    if origin is list:
        if not isinstance(value, list):
            return _misfit("an array", value, path, problems)
        (inner,) = get_args(wanted)
        return [again(inner, item, f"{path}[{i}]") for i, item in enumerate(value)]
    if origin is dict or is_dataclass(wanted):
        if not isinstance(value, dict):
            return _misfit("an object", value, path, problems)
        if origin is dict:
            inner = get_args(wanted)[1]
            return {key: again(inner, item, _join(path, key)) for key, item in value.items()}
        return _decode_object(wanted, value, problems, path, allow_unknown)
    if wanted is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return _misfit("a number", value, path, problems)
        return float(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        return _misfit(_NAMES[wanted], value, path, problems)
    return value


_NAMES: dict[type, str] = {str: "a string", int: "an integer", bool: "true or false"}


def _decode_object(cls: Any, value: dict[str, Any], problems: list[str], path: str, allow_unknown: bool) -> Any:
    hints = _hints(cls)
    if not allow_unknown:
        problems.extend(f"{_join(path, key)} is not a key of the contract" for key in value.keys() - hints.keys())
    missing = [name for name in hints if name not in value]
    problems.extend(f"{_join(path, name)} is missing" for name in missing)
    given = {
        name: decode(hint, value[name], problems, path=_join(path, name), allow_unknown=allow_unknown)
        for name, hint in hints.items()
        if name in value
    }
    # stand-ins, so that the rest of the tree can still be looked at; the problems above make the result void
    for f in fields(cls):
        if f.name in missing and f.default is MISSING and f.default_factory is MISSING:
            given[f.name] = None
    return cls(**given)


@cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


def _misfit(wanted: str, value: Any, path: str, problems: list[str]) -> None:
    problems.append(f"{path or 'the report'} is {_show(value)}, not {wanted}")


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
