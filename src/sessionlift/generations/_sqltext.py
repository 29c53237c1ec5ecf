"""What a table's own SQL text says and SQLite's introspection does not: CHECKs and AUTOINCREMENT."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""\s+ | --[^\n]* | /\*.*?\*/           # nothing
      | (?P<string>'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\])
      | (?P<word>[^\W\d]\w*)
      | (?P<other>\d[\w.]* | <> | <= | >= | != | == | \|\| | .)
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens(sql: str) -> list[str]:
    """The words of ``sql``: no comments, no layout, names unquoted and in lower case, strings as they are."""
    found = []
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup
        if kind == "quoted":
            text = match.group()
            found.append(text[1:-1].replace(text[-1] * 2, text[-1]).lower())
        elif kind is not None:
            found.append(match.group() if kind == "string" else match.group().lower())
    return found


def checks(sql: str) -> list[str]:
    """Every CHECK of a CREATE TABLE as one line of words, sorted."""
    words = tokens(sql)
    found = []
    for start, word in enumerate(words[:-1]):
        if word != "check" or words[start + 1] != "(":
            continue
        depth, end = 0, start + 1
        while end < len(words):
            depth += {"(": 1, ")": -1}.get(words[end], 0)
            end += 1
            if depth == 0:
                break
        found.append(" ".join(words[start + 2 : end - 1]))
    return sorted(found)


def references(sql: str) -> set[str]:
    """The tables that a CREATE TABLE refers to by a foreign key."""
    words = tokens(sql)
    return {words[at + 1] for at, word in enumerate(words[:-1]) if word == "references"}


def table_options(sql: str) -> str:
    """How the table keeps its rows: its row ids, and whether it is STRICT."""
    words = tokens(sql)
    tail = words[len(words) - words[::-1].index(")") :] if ")" in words else []
    options = ["autoincrement" if "autoincrement" in words else "plain row ids"]
    if "without" in tail:
        options = ["without rowid"]
    return ", ".join(options + (["strict"] if "strict" in tail else []))


def index_table(sql: str) -> str:
    """The table that a CREATE INDEX is on."""
    words = tokens(sql)
    return words[words.index("on") + 1]
