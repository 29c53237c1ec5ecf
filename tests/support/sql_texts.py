"""Find SQL text that is put together in source code, and judge what goes into it.

It reads syntax trees, runs nothing, and follows a name to where it was bound: in its function, or, for a
parameter, in the calls of that function within the same package. What it cannot follow is not trusted.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# upper case, as all our SQL is written: the same words in a message for people are in lower case
_SQL = re.compile(
    r"\b(?:SELECT\s|INSERT (?:OR \w+ )?INTO|DELETE FROM|UPDATE \S+ SET"
    r"|(?:CREATE|DROP|ALTER) (?:OR REPLACE |TEMP |UNIQUE )*(?:TABLE|INDEX|VIEW|SEQUENCE|TRIGGER)"
    r"|ATTACH |DETACH |PRAGMA \w|(?:FROM|JOIN|WHERE|ORDER BY|VALUES) )"
)
_NAME_PLACE = re.compile(
    r"(?:\b(?:FROM|JOIN|INTO|UPDATE|TABLE|INDEX|VIEW|SEQUENCE|EXISTS|ATTACH|DETACH|AS|ON)\s+|[\w\"]\.|\")\Z"
)
_VALUE_PLACE = re.compile(r"(?:[=<>]|\b(?:LIKE|GLOB|BETWEEN|LIMIT|OFFSET)|\bIN\s*\(|\bVALUES\s*\()\s*\Z")
# functions whose result is SQL text for any argument
QUOTING = {
    "quote_identifier",
    "column_list",
    "int",
    # a string literal of DuckDB, its quotes doubled
    "literal",
    # a subquery over one bound parameter, and the parameter
    "listed",
}


@dataclass(frozen=True)
class Piece:
    """One expression that is put into SQL text, and the kind of place it stands in."""

    path: Path
    line: int
    function: str
    place: str
    expression: str

    def __str__(self) -> str:
        where = f"{self.path.name}:{self.line} in {self.function or 'the module'}"
        return f"{where}: {{{self.expression}}} as a {self.place}"


@dataclass
class Module:
    path: Path
    tree: ast.Module
    owner: dict[ast.AST, ast.AST] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, text: str | None = None) -> Module:
        module = cls(path, ast.parse(path.read_text("utf-8") if text is None else text))
        for parent in ast.walk(module.tree):
            for child in ast.iter_child_nodes(parent):
                module.owner[child] = parent
        return module

    def function_of(self, node: ast.AST) -> ast.FunctionDef | None:
        while node in self.owner:
            node = self.owner[node]
            if isinstance(node, ast.FunctionDef):
                return node
        return None


class Scan:
    """The SQL texts of one package (a set of modules that call each other)."""

    def __init__(self, modules: list[Module]) -> None:
        self.modules = modules
        self._functions: dict[str, list[tuple[Module, ast.FunctionDef]]] = defaultdict(list)
        self._calls: dict[str, list[tuple[Module, ast.Call]]] = defaultdict(list)
        for module in modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.FunctionDef):
                    self._functions[node.name].append((module, node))
                elif isinstance(node, ast.Call):
                    self._calls[name_called(node)].append((module, node))

    def unsafe(self) -> Iterator[Piece]:
        """What goes into SQL text as a name or a value and is neither quoted nor a constant of ours."""
        for module in self.modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.JoinedStr):
                    yield from self._unsafe_pieces(module, node)

    def _unsafe_pieces(self, module: Module, text: ast.JoinedStr) -> Iterator[Piece]:
        whole = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in text.values)
        if not _SQL.search(whole):
            return
        before = ""
        for part in text.values:
            if isinstance(part, ast.Constant):
                before += str(part.value)
                continue
            assert isinstance(part, ast.FormattedValue)
            place = place_after(before)
            if place and not self.is_safe(module, part.value):
                function = module.function_of(text)
                name = function.name if function else ""
                yield Piece(module.path, part.lineno, name, place, ast.unparse(part.value))
            before += "{}"

    def is_safe(self, module: Module, node: ast.expr, seen: frozenset[tuple[str, str]] = frozenset()) -> bool:
        """True if the expression can only be quoted text, or text that stands in our source as a constant."""
        if isinstance(node, ast.Constant):
            return True
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            return all(self.is_safe(module, item, seen) for item in node.elts)
        if isinstance(node, ast.Dict):
            return all(self.is_safe(module, item, seen) for item in [*node.keys, *node.values] if item is not None)
        if isinstance(node, ast.JoinedStr):
            parts = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
            return all(self.is_safe(module, part, seen) for part in parts)
        if isinstance(node, ast.IfExp):
            return self.is_safe(module, node.body, seen) and self.is_safe(module, node.orelse, seen)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return any(self.is_safe(module, side, seen) for side in (node.left, node.right))  # "?" * count
        if isinstance(node, ast.BinOp):
            return self.is_safe(module, node.left, seen) and self.is_safe(module, node.right, seen)
        if isinstance(node, ast.BoolOp):
            return all(self.is_safe(module, item, seen) for item in node.values)
        if isinstance(node, (ast.Subscript, ast.Starred)):
            return self.is_safe(module, node.value, seen)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            return self.is_safe(module, node.elt, seen)
        if isinstance(node, ast.Attribute):
            return is_constant_name(node.attr)
        if isinstance(node, ast.Call):
            return self._call_is_safe(module, node, seen)
        if isinstance(node, ast.Name):
            return is_constant_name(node.id) or self._name_is_safe(module, node, seen)
        return False

    def _call_is_safe(self, module: Module, call: ast.Call, seen: frozenset[tuple[str, str]]) -> bool:
        function, name = call.func, name_called(call)
        if name in QUOTING:
            return True
        arguments = [self.is_safe(module, argument, seen) for argument in call.args]
        if isinstance(function, ast.Attribute) and name in (
            "items",
            "values",
            "keys",
            "replace",
            "join",
            "get",
        ):
            return self.is_safe(module, function.value, seen) and all(arguments)
        if name in ("sorted", "reversed", "list", "tuple", "enumerate", "zip", "dict", "set"):
            return all(arguments)
        return self._results_are_safe(name, seen)

    def _results_are_safe(self, name: str, seen: frozenset[tuple[str, str]]) -> bool:
        """True if ``name`` is a function of this package and whatever it returns is safe."""
        key = ("function", name)
        if key in seen:
            return True
        results: list[bool] = []
        for module, function in self._functions.get(name, ()):
            results += [
                node.value is not None and self.is_safe(module, node.value, seen | {key})
                for node in ast.walk(function)
                if isinstance(node, ast.Return)
            ]
        return bool(results) and all(results)

    def _name_is_safe(self, module: Module, node: ast.Name, seen: frozenset[tuple[str, str]]) -> bool:
        function = module.function_of(node)
        if function is None:
            return False
        key = (f"{module.path}:{function.lineno}", node.id)
        if key in seen:
            return True  # bound from itself, as in `x = x.replace(...)`: its other bindings decide
        seen |= {key}
        bound = list(bindings(function, node.id))
        parameters = [a.arg for a in [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]]
        if node.id in parameters:
            passed = list(self._arguments(function, parameters, node.id))
            passed += [(module, value) for value in defaults(function, node.id)]
            return (
                bool(passed)
                and all(self.is_safe(m, value, seen) for m, value in passed)
                and all(self.is_safe(module, value, seen) for value in bound)
            )
        return bool(bound) and all(self.is_safe(module, value, seen) for value in bound)

    def _arguments(
        self, function: ast.FunctionDef, parameters: list[str], wanted: str
    ) -> Iterator[tuple[Module, ast.expr]]:
        """What the calls of ``function`` in this package give for one parameter."""
        positional = [name for name in parameters if name not in ("self", "cls")]
        position = positional.index(wanted)
        for module, call in self._calls.get(function.name, ()):
            if position < len(call.args):
                yield module, call.args[position]
            yield from ((module, word.value) for word in call.keywords if word.arg == wanted)


def name_called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def defaults(function: ast.FunctionDef, name: str) -> list[ast.expr]:
    """The default of a parameter, if it has one."""
    positional = [*function.args.posonlyargs, *function.args.args]
    given = function.args.defaults
    pairs = list(zip(positional[len(positional) - len(given) :], given, strict=True))
    pairs += [(a, d) for a, d in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True) if d]
    return [default for parameter, default in pairs if parameter.arg == name]


def place_after(before: str) -> str:
    """The kind of place that SQL text leads up to: "quoted value", "value", "name", or "" for a fragment."""
    if before.count("'") % 2:
        return "quoted value"
    if _NAME_PLACE.search(before):
        return "name"
    return "value" if _VALUE_PLACE.search(before) else ""


def is_constant_name(name: str) -> bool:
    return name.isupper()


def bindings(function: ast.FunctionDef, name: str) -> Iterator[ast.expr]:
    """The expressions that a local name is bound from: assignments, loops and comprehensions."""
    for node in ast.walk(function):
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)) and node.value is not None:
            pairs = [(node.target, node.value)]
        elif isinstance(node, (ast.For, ast.comprehension)):
            pairs = [(node.target, node.iter)]
        for target, value in pairs:
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
                yield from (v for t, v in zip(target.elts, value.elts, strict=True) if mentions(t, name))
            elif mentions(target, name):
                yield value


def mentions(target: ast.expr, name: str) -> bool:
    """True if the name is bound by ``target``; ``rows[name] = …`` only uses it."""
    return any(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store) for node in ast.walk(target)
    )


def glued(module: Module) -> Iterator[Piece]:
    """SQL text that is completed with ``%`` or ``.format``: there is no need for either."""
    for node in ast.walk(module.tree):
        text: ast.expr | None = None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            text = node.left
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
            text = node.func.value
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and _SQL.search(text.value):
            function = module.function_of(node)
            name = function.name if function else ""
            yield Piece(module.path, text.lineno, name, "glued text", ast.unparse(text)[:60])
