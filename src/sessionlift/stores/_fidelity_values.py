"""The values that drivers are known to change, by class; fixed, so that two probes can be compared."""

from __future__ import annotations

import math
import random
import struct

from sessionlift.stores._value import Value

_RANDOM_DOUBLES = 1000
_SEED = 20250117

NAN = "NaN"
MINUS_ZERO = "-0.0"
LONE_SURROGATE = "lone surrogate"


def _doubles() -> list[Value]:
    source = random.Random(_SEED)  # noqa: S311 - a sample, not a secret
    found: list[Value] = []
    while len(found) < _RANDOM_DOUBLES:
        (value,) = struct.unpack("<d", struct.pack("<Q", source.getrandbits(64)))
        if math.isfinite(value) and value != 0.0:
            found.append(value)
    # the sizes that sessions hold: costs, durations, times in seconds
    for _ in range(_RANDOM_DOUBLES // 3):
        found += [source.random() / 1000, source.random() * 1e6, 1.7e9 + source.random() * 1e8]
    return found


def _traps() -> list[Value]:
    return [
        0.1, 0.1 + 0.2, 0.29, 1.0, 2.5e-3, 1e15, 1e16, 1e21, 1e22, 1e23, 8.41e21, 9.5e-3, 5e-5,
        9007199254740991.0, 9007199254740992.0, 9007199254740994.0, 9223372036854775808.0,
        -9223372036854775808.0, 1.7976931348623157e308, -1.7976931348623157e308, 0.0,
        6.631236846766476e-316, 3.2378839133029012895883524125015321749e-319, 2.47032822920623272e-324 * 3,
        1735689600.123456, 1735689600123.4567, 4.35, 0.000012, 123456789.12345679, math.pi, math.e,
    ]  # fmt: skip


def _subnormals() -> list[Value]:
    least, normal = 5e-324, 2.2250738585072014e-308
    return [least, -least, least * 2, least * 12345, normal, normal / 2, normal - least, -normal]


def classes() -> dict[str, list[Value]]:
    """Every class of values, by the name under which it stands in the report."""
    wide = [sign * (2**bits + step) for sign in (1, -1) for bits in (31, 32, 53) for step in (-1, 0, 1)]
    return {
        "integer, 64-bit edges": [2**63 - 1, -(2**63), 2**63 - 2, -(2**63) + 1, 2**62, -(2**62), 0, 1, -1],
        "integer, around 2^31 and 2^53": [*wide, 1735689600123456789],
        "double": _doubles(),
        "double, hard to round": _traps(),
        "double, subnormal": _subnormals(),
        "infinity": [math.inf, -math.inf],
        NAN: [math.nan],
        MINUS_ZERO: [-0.0],
        "text": [
            "a",
            'O\'Neil "x" `y` [z]',
            "?1 ?2 -- /*",
            " \t\r\n ",
            "1",
            "1.0",
            "0x10",
            "é",
            "\ufeff",
            "\x7f",
        ],
        "text with NUL": ["\0", "a\0b", "\0\0", "a\0", "\\u0000", "é\0漢"],
        "text beyond the basic plane": ["😀", "a𐍈b", "\U0010ffff", "👩‍💻" * 50],
        LONE_SURROGATE: ["\ud800", "a\udfffb"],
        "empty text": [""],
        "blob": [b"", b"\0", b"a\0b", bytes(range(256)), b"\xff\xfe", b"text"],
        "NULL": [None],
        "JSON null as text": ["null", '"null"', '{"a":null}', "[]", "NaN"],
    }
