"""What the code itself says of its boundaries: every failpoint, every place that commits."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import orchestrator

PACKAGE = Path(orchestrator.__file__).parent


def failpoints() -> set[str]:
    """Return the names of all `hit("...")` in the package."""
    return {
        str(call.args[0].value)
        for _, _, call in _calls()
        if isinstance(call.func, ast.Name)
        and call.func.id == "hit"
        and isinstance(call.args[0], ast.Constant)
    }


def unnamed_failpoints() -> list[str]:
    """Return where `hit` is called with anything but a literal name: no scan can see those."""
    return [
        f"{module}:{scope}"
        for module, scope, call in _calls()
        if isinstance(call.func, ast.Name)
        and call.func.id == "hit"
        and not isinstance(call.args[0], ast.Constant)
    ]


@functools.cache
def _commits() -> Mapping[tuple[str, str], Sequence[tuple[int, int]]]:
    """Return the first and last lines of every `write` on a registry, by module and function."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for module, scope, call in _calls():
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if name == "write" and _is_registry(call.func.value):  # type: ignore[attr-defined]
            lines = (call.lineno, call.end_lineno or call.lineno)
            found.setdefault((module, scope), []).append(lines)
    return found


def commit_sites() -> set[str]:
    """Return the name of every place that calls `write` on a registry."""
    return {
        _name(*place, number) for place, calls in _commits().items() for number in range(len(calls))
    }


def site_at(module: str, function: str, line: int) -> str:
    """Return the name of the place that commits at a line; `module:function`, or numbered."""
    calls = _commits().get((module, function), ())
    number = next((n for n, (first, last) in enumerate(calls) if first <= line <= last), None)
    return f"{module}:{function}" if number is None else _name(module, function, number)


def _name(module: str, function: str, number: int) -> str:
    several = len(_commits()[module, function]) > 1
    return f"{module}:{function}" + (f"#{number + 1}" if several else "")


def _is_registry(owner: ast.expr) -> bool:
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return name.strip("_") == "registry"


def _calls() -> Iterator[tuple[str, str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE.parent).with_suffix("")
        module = ".".join(place.parts).removesuffix(".__init__")
        yield from ((module, *found) for found in _within(ast.parse(path.read_text()), ()))


def _within(node: ast.AST, scope: tuple[str, ...]) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls below `node` with the qualified name of the function that they stand in."""
    for child in ast.iter_child_nodes(node):
        inner = scope
        if isinstance(child, ast.ClassDef):
            inner = (*scope, child.name)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = (*scope, child.name, "<locals>")
        elif isinstance(child, ast.Lambda):
            inner = (*scope, "<lambda>", "<locals>")
        if isinstance(child, ast.Call):
            yield ".".join(scope).removesuffix(".<locals>"), child
        yield from _within(child, inner)
