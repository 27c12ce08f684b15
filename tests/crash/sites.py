"""What the code itself says of its boundaries: every failpoint, every place that commits."""

from __future__ import annotations

import ast
from collections.abc import Iterator
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


def commit_sites() -> set[str]:
    """Return `module:function` of every place that calls `write` on a registry."""
    return {
        f"{module}:{scope}"
        for module, scope, call in _calls()
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "write"
        and _is_registry(call.func.value)
    }


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
