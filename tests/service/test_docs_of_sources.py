"""Every command of docs/sources.md runs as it is written, and so does the source of one's own."""

from __future__ import annotations

import re
import shlex
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import xlsxwriter
from pyarrow import parquet
from support.object_store import serving

PAGE = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ orchestrator (.+)$", PAGE, re.MULTILINE)
REVIEWS = {
    "id": [1, 2, 3],
    "country": ["de", "de", "fr"],
    "lang": ["en", "de", "en"],
    "stars": [5, 1, 4],
    "text": ["good", "bad", "fine"],
}


def write_files(folder: Path) -> None:
    table = pa.table(REVIEWS)
    rows = "".join(",".join(map(str, row.values())) + "\n" for row in table.to_pylist())
    (folder / "reviews.csv").write_text(f"{','.join(REVIEWS)}\n{rows}")
    (folder / "data").mkdir()
    parquet.write_table(table, folder / "data" / "a.parquet")
    book = xlsxwriter.Workbook(str(folder / "book.xlsx"))
    sheet = book.add_worksheet("May")
    for number, row in enumerate([list(REVIEWS), *zip(*REVIEWS.values(), strict=True)]):
        sheet.write_row(number, 0, row)
    book.close()
    (folder / "open.sql").write_text("SELECT id, text FROM tickets WHERE team IS NULL;\n")
    db = sqlite3.connect(folder / "warehouse.db")
    db.execute("CREATE TABLE tickets (id INTEGER PRIMARY KEY, text TEXT, team TEXT)")
    db.executemany("INSERT INTO tickets (text) VALUES (?)", [("it is broken",), ("why?",)])
    db.commit()
    db.close()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Any:
    with serving() as objects:
        for name, value in {
            "AWS_ENDPOINT_URL": objects.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-central-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield objects


def test_every_command_runs_as_it_is_written(offline: Any, bucket: Any):
    write_files(offline.folder)
    bucket.held["bucket/reviews.parquet"] = (offline.folder / "data" / "a.parquet").read_bytes()
    url = f"sqlite:///{offline.folder / 'warehouse.db'}"
    offline.configure(f'[connections.warehouse]\nurl = "{url}"\n')
    assert len(COMMANDS) >= 12
    for command in COMMANDS:
        ran = offline.run(*shlex.split(command))
        assert ran.status == 0, f"{command}\n{ran.err}"
    assert ran.out == "reviews\n"
    with (offline.folder / "reviews.csv").open("a") as file:
        file.write("4,fr,fr,2,late\n")
    assert offline.run(*shlex.split(COMMANDS[-1])).out == "reviews-2\n"


def test_the_configuration_of_the_page_loads(offline: Any):
    write_files(offline.folder)
    (table, *_) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    offline.configure(table)
    environ = {"WAREHOUSE_URL": f"sqlite:///{offline.folder / 'warehouse.db'}"}
    ran = offline.run("submit", "teams", env=environ)
    assert (ran.status, ran.out) == (0, "teams\n"), ran.err


def test_the_source_of_ones_own_hands_out_its_records():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "docs/sources.md", "exec"), names)  # the page's own
    source = names["Letters"]("abc.letters", "letters", options={}, opening=None, max_row_bytes=1)
    assert [row.data["letter"] for row in source.records()] == ["a", "b", "c"]
