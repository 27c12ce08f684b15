"""A pytest plugin that seeds one bug: it replaces text of a module while the module is loaded.

    ORC_MUTANT="settle skipped" PYTHONPATH=tests pytest -p support.mutating tests/domain

Nothing is written. Text that does not stand in its module exactly once ends the run: a mutant that
the code has outgrown proves nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

import pytest
from mutants.mutants import MUTANTS, Edit, seeded


class Mutating(SourceFileLoader):
    """Compiles the changed source, past every compiled copy of the true one."""

    def __init__(self, name: str, path: str, edits: Sequence[Edit]) -> None:
        super().__init__(name, path)
        self._edits = edits

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        source = self.get_data(path).decode()
        return compile(seeded(source, self._edits), path, "exec", dont_inherit=True)


class Finder(MetaPathFinder):
    """Finds the modules that a mutant changes."""

    def __init__(self, edits: Sequence[Edit]) -> None:
        self.edits = edits

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        edits = [edit for edit in self.edits if edit.module == name]
        if not edits:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None:
            raise LookupError(f"the mutant changes {name}, which is nowhere")
        spec.loader = Mutating(name, spec.origin, edits)
        return spec


def install(wanted: str) -> Finder:
    """Let the modules of a mutant be changed as soon as they are loaded."""
    (mutant,) = (one for one in MUTANTS if one.name == wanted)
    for edit in mutant.edits:
        if edit.module in sys.modules:
            raise LookupError(f"{edit.module} is loaded already: it can't be changed any more")
    finder = Finder(mutant.edits)
    sys.meta_path.insert(0, finder)
    return finder


# When the plugin is loaded, which is before any conftest, and with it the package, is.
INSTALLED = install(os.environ["ORC_MUTANT"]) if "ORC_MUTANT" in os.environ else None


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Let a failure count only if what was to be changed was loaded at all."""
    if INSTALLED is not None and exitstatus == pytest.ExitCode.TESTS_FAILED:
        untouched = {edit.module for edit in INSTALLED.edits} - sys.modules.keys()
        if untouched:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
