"""What our source must not do: run data as code, put values into SQL text, or swallow errors."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tests.support.sql_texts import Module, Scan, glued

TESTS = Path(__file__).resolve().parent
PACKAGE = TESTS.parent / "src" / "sessionlift"
MODULES = [Module.read(path) for path in sorted(PACKAGE.rglob("*.py"))]
# these turn data into running code when they read it
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_ATTRIBUTES = {("os", "system"), ("os", "popen"), ("tempfile", "mktemp"), ("yaml", "load")}
# (file, function, expression): why it may stand in SQL text though the scan cannot follow it
TRUSTED = {
    (
        "_hrana.py",
        "read_table",
        "_name(table)",
    ): "the verifier quotes by itself, it shares no code with the writer",
    ("_kept_rows.py", "keep_rows", "query"): "the caller's whole query, put together in the caller's module",
}


def name_of(module: Module) -> str:
    return str(module.path.relative_to(PACKAGE))


def forbidden(tree: ast.AST) -> list[tuple[int, str]]:
    """The lines of a module that run data as code, and what they use for it."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [(node.lineno, name) for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id in FORBIDDEN_CALLS:
                found.append((node.lineno, function.id))
            if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
                pair = (function.value.id, function.attr)
                if pair in FORBIDDEN_ATTRIBUTES or (pair[0] == "builtins" and pair[1] in FORBIDDEN_CALLS):
                    found.append((node.lineno, ".".join(pair)))
            for word in node.keywords:
                if word.arg == "shell" and not (isinstance(word.value, ast.Constant) and not word.value.value):
                    found.append((node.lineno, "shell=True"))
    return found


def swallowed(tree: ast.AST) -> list[int]:
    """The lines where an error of any kind is caught and forgotten, or a bare Exception is raised."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            )
            empty = all(
                isinstance(statement, ast.Pass)
                or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
                for statement in node.body
            )
            if node.type is None or (broad and empty):
                found.append(node.lineno)
        elif isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(raised, ast.Name) and raised.id in ("Exception", "BaseException"):
                found.append(node.lineno)
    return found


def test_no_two_test_modules_have_one_name() -> None:
    """pytest imports them by name alone: with two of one name it collects neither suite."""
    names = [path.name for path in TESTS.rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_no_data_is_run_as_code() -> None:
    wrong = [f"{name_of(m)}:{line} uses {what}" for m in MODULES for line, what in forbidden(m.tree)]
    assert not wrong, "\n".join(wrong)


def test_no_error_is_swallowed_or_nameless() -> None:
    wrong = [f"{name_of(m)}:{line}" for m in MODULES for line in swallowed(m.tree)]
    assert not wrong, "\n".join(wrong)


def test_no_insert_ignores_what_the_target_refuses() -> None:
    """``INSERT OR IGNORE`` passes over CHECK and NOT NULL failures without a word: rows would be lost."""
    wrong = [
        f"{name_of(m)}:{node.lineno}"
        for m in MODULES
        for node in ast.walk(m.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "INSERT OR IGNORE" in node.value
    ]
    assert not wrong, "\n".join(wrong)


def test_sql_is_never_glued_with_percent_or_format() -> None:
    wrong = [str(piece) for m in MODULES for piece in glued(m)]
    assert not wrong, "\n".join(wrong)


def test_names_in_sql_are_quoted_and_values_are_bound() -> None:
    packages: dict[str, list[Module]] = {}
    for module in MODULES:
        packages.setdefault(module.path.relative_to(PACKAGE).parts[0], []).append(module)
    pieces = [piece for modules in packages.values() for piece in Scan(modules).unsafe()]
    wrong = [str(p) for p in pieces if (p.path.name, p.function, p.expression) not in TRUSTED]
    assert not wrong, (
        "put names through stores.quote_identifier and bind values; if neither can be, say why in TRUSTED:\n"
        + "\n".join(wrong)
    )
    stale = set(TRUSTED) - {(p.path.name, p.function, p.expression) for p in pieces}
    assert not stale, f"no longer there, take it out of TRUSTED: {sorted(stale)}"


@pytest.mark.parametrize(
    "source",
    [
        'def f(db, name):\n    db.execute(f"SELECT * FROM {name}")',
        'def f(db, name):\n    db.execute(f"INSERT INTO main.{name} VALUES (1)")',
        "def f(db, v):\n    db.execute(f\"SELECT a FROM t WHERE b = '{v}'\")",
        'def f(db, v):\n    db.execute(f"SELECT a FROM t WHERE b = {v}")',
        'def f(db, v):\n    db.execute(f"SELECT a FROM t WHERE b IN ({v})")',
        'def f(db, v):\n    db.execute(f"DELETE FROM t LIMIT {v}")',
        'def f(db, name):\n    table = name\n    db.execute(f"DROP TABLE {table}")',
        'def f(db, rows):\n    for name in rows:\n        db.execute(f"CREATE INDEX {name} ON t (a)")',
        'def f(db, name):\n    db.execute(f"SELECT \\"{name}\\" FROM t")',
        'def f(db, name):\n    db.execute(f"SELECT * FROM {name.lower()}")',
        'def g(db, t):\n    db.execute(f"DELETE FROM {t}")\ndef f(db, name):\n    g(db, 1)\n    g(db, name)',
        'def g(name):\n    return name\ndef f(db, name):\n    db.execute(f"SELECT * FROM {g(name)}")',
        'def f(db, name):\n    for t in ("a", name):\n        db.execute(f"SELECT * FROM {t}")',
    ],
)
def test_the_scan_sees_values_in_sql(source: str) -> None:
    assert list(Scan([Module.read(Path("m.py"), source)]).unsafe())


@pytest.mark.parametrize(
    "source",
    [
        'def f(db, name):\n    db.execute(f"SELECT * FROM {quote_identifier(name)}")',
        'def f(db, name):\n    t = quote_identifier(name)\n    db.execute(f"SELECT * FROM {t}")',
        'def f(db):\n    db.execute(f"SELECT * FROM {TABLE}")',
        'def f(db):\n    for t in ("a", "b"):\n        db.execute(f"DELETE FROM {t}")',
        'def f(db):\n    for t, c in NAMES.items():\n        db.execute(f"DELETE FROM {t} WHERE {c} > ?", a)',
        'def f(db, n):\n    db.execute(f"SELECT a FROM t LIMIT {int(n)}")',
        'def g(db, t):\n    db.execute(f"SELECT * FROM {t}")\ndef f(db):\n    g(db, "a")\n    g(db, t="b")',
        'def g(t="a"):\n    return f"SELECT * FROM {t}"\ndef f():\n    return g()',
        'def f(db, n):\n    marks = ", ".join("?" * n)\n    db.execute(f"INSERT INTO t VALUES ({marks})")',
        'def f(table):\n    return f"the table {table} is not there"',
        'def f(db, names):\n    db.execute(f"SELECT a, {column_list(names)} FROM t")',
    ],
)
def test_the_scan_lets_quoted_names_and_constants_pass(source: str) -> None:
    assert not list(Scan([Module.read(Path("m.py"), source)]).unsafe())


@pytest.mark.parametrize("source", ['x = "SELECT %s FROM t" % a', 'x = "SELECT {} FROM t".format(a)'])
def test_the_scan_sees_glued_sql(source: str) -> None:
    assert list(glued(Module.read(Path("m.py"), source)))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "eval('1')",
        "exec(text)",
        "import os\nos.system('ls')",
        "subprocess.run('ls', shell=True)",
        "builtins.eval(x)",
    ],
)
def test_running_data_as_code_is_seen(source: str) -> None:
    assert forbidden(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept:\n    g()",
        "try:\n    f()\nexcept Exception:\n    pass",
        "raise Exception('no')",
        "try:\n    f()\nexcept BaseException:\n    ...",
    ],
)
def test_swallowed_errors_are_seen(source: str) -> None:
    assert swallowed(ast.parse(source))
