"""Libraries that are not installed are named with the command that installs them."""

import importlib

import pytest

from orchestrator.domain.errors import SourceError
from orchestrator.sources.registry import open_source


@pytest.fixture
def without(monkeypatch):
    """Make an import fail as if the library were not there."""
    real = importlib.import_module

    def hide(library):
        def load(name, package=None):
            if name.split(".")[0] == library:
                raise ModuleNotFoundError(f"No module named {library!r}")
            return real(name, package)

        monkeypatch.setattr(importlib, "import_module", load)

    return hide


@pytest.mark.parametrize(
    ("library", "location", "extra"),
    [
        ("pyarrow", "a.parquet", "tables"),
        ("pyarrow", "a.jsonl.zst", "tables"),
        ("python_calamine", "a.xlsx", "tables"),
        ("obstore", "s3://bucket/a.jsonl", "objects"),
    ],
)
def test_a_missing_library_is_told_with_what_installs_it(
    without, tmp_path, monkeypatch, library, location, extra
):
    monkeypatch.chdir(tmp_path)
    if "://" not in location:
        (tmp_path / location).write_bytes(b"x")
    without(library)
    with pytest.raises(SourceError, match=f"needs the library {library}") as caught:
        open_source(location)
    assert caught.value.code == "ORC2030"
    assert caught.value.next == f"pip install 'batch-orchestrator[{extra}]'"
