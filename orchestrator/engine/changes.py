"""Only what is new or has changed since the earlier jobs of a series.

A record is passed over when the latest job that holds its key has the same content, and has
answered it or still may. What failed, expired or was cancelled is sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from orchestrator.domain import rules
from orchestrator.domain.custom_ids import custom_id
from orchestrator.domain.errors import SourceError
from orchestrator.domain.intake import BadRow, Record
from orchestrator.domain.model import OPEN_REQUESTS, RequestState
from orchestrator.domain.profile import Profile
from orchestrator.domain.spec import JobSpec
from orchestrator.engine.history import History
from orchestrator.engine.repeats import Keys, Partitions
from orchestrator.registry.series import Held
from orchestrator.sources.port import Source
from orchestrator.sources.some_of import SomeOf

CHUNK = 1_000
_HOLDS = frozenset({RequestState.SUCCEEDED.value, *(state.value for state in OPEN_REQUESTS)})
_END = (1 << 63) - 1

Row = Record | BadRow


class Changed(SomeOf):
    """Another source's records that are new or differ from what the earlier jobs hold.

    Decided once, in the first pass, and noted in `workdir`, so that every pass hands out the same
    records, whatever becomes of the earlier jobs meanwhile. A chunk costs two queries. Raises
    SourceError (ORC2011) for a key that comes twice: which of the two is held could not be told.
    """

    def __init__(
        self, source: Source, spec: JobSpec, profile: Profile, history: History, workdir: Path
    ) -> None:
        super().__init__(source)
        self._history = history
        self._rules = rules.RecordRules(spec, profile)
        self._id_limit = profile.limits.custom_id_max
        folder = workdir / "changed"
        folder.mkdir()
        self._keys = Keys(folder, id_limit=self._id_limit, on_duplicate="error")
        self._passed_over = Partitions(folder, "unchanged", 1)
        self._decided = 0
        self._whole = False
        self._sent = hashlib.sha256()
        self.unchanged = 0
        """Records passed over so far."""

    def digest(self) -> str:
        """Return a hash of the source, of what is sent of it, and of the job it was compared with.

        The same records to be sent again, since they failed in a later job, are another content.
        """
        latest = next(iter(self._history.runs()), None)
        told = f"{self._source.digest()} {latest.id if latest else 0} {self._sent.hexdigest()}"
        return hashlib.sha256(told.encode()).hexdigest()

    def records(self) -> Iterator[Row]:
        """Start a new pass from the first row."""
        rows = iter(self._source.records())
        noted = (entry.position for entry in self._passed_over.entries(0))
        skip = next(noted, _END)
        while chunk := list(islice(rows, CHUNK)):
            if chunk[-1].position > self._decided:
                yield from self._decide(chunk)
                continue
            for row in chunk:
                if row.position == skip:
                    skip = next(noted, _END)
                else:
                    yield row
        self._refuse_repeated()

    def _decide(self, chunk: list[Row]) -> list[Row]:
        """Return what is sent of a chunk that is read for the first time, and note the rest."""
        keys = [self._rules.key(row) if isinstance(row, Record) else None for row in chunk]
        ids = {key: custom_id(key, self._id_limit) for key in keys if isinstance(key, str)}
        held = self._history.held(list(ids.values()))
        sent: list[Row] = []
        for row, key in zip(chunk, keys, strict=True):
            if not isinstance(row, Record) or not isinstance(key, str):
                sent.append(row)
                continue
            self._keys.add(row.position, key)
            if _holds(held.get(ids[key]), row):
                self._passed_over.append(0, row.position, b"")
                self.unchanged += 1
            else:
                self._sent.update(f"{row.position} {key}\n".encode("utf-8", "surrogatepass"))
                sent.append(row)
        self._decided = chunk[-1].position
        return sent

    def _refuse_repeated(self) -> None:
        if self._whole:
            return
        self._whole = True
        self._keys.find()
        repeated = next(self._keys.named(), None)
        if repeated is not None:
            found = rules.repeated_key(*repeated)
            raise SourceError(
                f"{self.name} holds a key twice, so that nobody can tell what has changed",
                code=found.code,
                where=self.shape().place(found.position),
                why=found.reason,
                safe="nothing was registered, nothing was sent",
                next="give each record a key of its own",
            )


def _holds(held: Held | None, record: Record) -> bool:
    """Whether a job has answered this very record, or still may."""
    if held is None or held.state not in _HOLDS:
        return False
    text = record.raw or msgspec.json.encode(record.data)
    before = held.record.encode("utf-8", "replace")
    return text == before or _plain(text) == _plain(before)


def _plain(text: bytes) -> bytes:
    """Return a record's text without what does not count: blanks, and the order of members."""
    return msgspec.json.encode(msgspec.json.decode(text), order="sorted")
