"""The way in: check a whole source, then hand out its requests. Two passes, both streaming.

Memory does not grow with the source: `scan` keeps counts, the first violations, and partitions of
keys in `workdir` from which repeated keys are found.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import msgspec

from orchestrator.domain import rules
from orchestrator.domain.body_hash import BodyHash
from orchestrator.domain.custom_ids import custom_id
from orchestrator.domain.errors import SourceError, TemplateError
from orchestrator.domain.intake import BadRow, Record, Request, Violation
from orchestrator.domain.packing import MAX_REQUESTS, PlannedFile
from orchestrator.domain.profile import Profile
from orchestrator.domain.rendering import Rendered, Renderer, batch_line, text_json
from orchestrator.domain.shape import Shape
from orchestrator.domain.spec import JobSpec
from orchestrator.domain.tally import ModelStats, Tally
from orchestrator.engine.pictures import PictureFolder, folder_of
from orchestrator.engine.repeats import (
    BUFFER_BYTES,
    Bodies,
    Keys,
    Partitions,
    Repeat,
    quick_hash,
    suffixed,
)
from orchestrator.sources.port import Source

BROKEN_RULES = "ORC2001"
CHANGED = "ORC2005"
MOST_TOKENS = 2**31 - 1
"""The highest number of tokens that the registry holds for one request."""

DETAILS_SHOWN = 100

_DEFERRED = struct.Struct("<QQqH")
_NO_POSITION = 1 << 63


@dataclass(frozen=True)
class Scan:
    """What a source holds and what it will become. Counts are exact, tokens are estimates.

    `rows` counts records, bad ones included, blank ones not; `repeated` those whose key was seen
    before; `skipped` those left out for it. `files` lists the first 1,000 of `files_total`.
    `identical` counts requests that ask the same as another, `spare` those of them that need not be
    sent if each is asked once. `violations` holds the first
    of `violations_total`, by position. Valid as long as the scan's `workdir`.

    `source_hash` stands for the whole source, `source_digest` for what was chosen of it.
    `passed_over` did not fit the spec's condition; `unchanged` is held by earlier jobs as it is.
    `latest`: the latest job that this was compared with; `changed_since`: the latest over the
    same source, where the source was another one then.
    """

    source_name: str
    source_digest: str
    shape: Shape
    rows: int
    bad_rows: int
    blank_rows: int
    repeated: int
    skipped: int
    requests: int
    bytes: int
    identical: int
    spare: int
    models: tuple[ModelStats, ...]
    files: tuple[PlannedFile, ...]
    files_total: int
    violations: tuple[Violation, ...]
    violations_total: int
    keys: Keys
    bodies: Bodies
    source_hash: str = ""
    passed_over: int = 0
    unchanged: int = 0
    latest: str = ""
    changed_since: str = ""

    @property
    def nothing_changed(self) -> bool:
        """Whether earlier jobs hold every record as it is: there is nothing to send."""
        return self.unchanged > 0 and not self.rows and self.violations_total <= 1


def scan(
    spec: JobSpec,
    profile: Profile,
    source: Source,
    *,
    workdir: Path,
    report_limit: int = 1000,
    requests_per_file: int = MAX_REQUESTS,
    buffer_bytes: int = BUFFER_BYTES,
) -> Scan:
    """Read, render and check every record of `source` once; store nothing but files in `workdir`.

    Never raises for a bad record: each broken rule is a violation, the first `report_limit` are
    kept and all are counted. Raises TemplateError if the template itself is wrong, SourceError or
    NotFound if the source can't be read. The files are planned with at most `requests_per_file`
    requests, as the prepare step will pack them. `workdir` exists and is the scan's own; its files
    take about 40 bytes and the key for each record.
    """
    return _Scanner(
        spec,
        profile,
        source,
        workdir=workdir,
        report_limit=report_limit,
        tally=Tally(profile, requests_per_file),
        buffer_bytes=buffer_bytes,
    ).run()


def refuse(result: Scan) -> None:
    """Raise one SourceError that lists every violation of the scan; do nothing if there is none."""
    if not result.violations_total:
        return
    shown = result.violations[:DETAILS_SHOWN]
    details = [
        f"{result.shape.place(found.position)}: {found.reason}" if found.position else found.reason
        for found in shown
    ]
    if result.violations_total > len(shown):
        details.append(f"and {result.violations_total - len(shown):,} more")
    codes = {found.code for found in result.violations}
    count = result.violations_total
    raise SourceError(
        f"{result.source_name} breaks the rules in {count:,} place{'s' if count > 1 else ''}",
        code=codes.pop() if len(codes) == 1 else BROKEN_RULES,
        safe="nothing was registered, nothing was sent",
        next="mend what is listed, then give the same command again",
        details=details,
    )


def requests(
    spec: JobSpec, profile: Profile, source: Source, result: Scan, *, start_seq: int = 0
) -> Iterator[Request]:
    """Yield the requests of a scanned source in order, numbered from 0, from `start_seq` on.

    Earlier ones are passed over without being rendered. Raises SourceError if the scan found
    violations, and one that says so if the source is not what was scanned, at the latest after
    the last request: register nothing as complete before the iterator has ended.
    """
    refuse(result)
    maker = _Maker(spec, profile, source)
    repeats = result.keys.repeats() if spec.on_duplicate != "error" else iter(())
    nothing = Repeat(_NO_POSITION, 0, 0)
    repeat = next(repeats, nothing)
    seq = 0
    for row in islice(source.records(), spec.limit):
        if isinstance(row, BadRow):
            raise _changed(source)
        ordinal = 0
        if row.position == repeat.position:
            ordinal, repeat = repeat.ordinal, next(repeats, nothing)
            if spec.on_duplicate == "skip":
                continue
        if seq >= start_seq:
            yield maker.request(seq, row, ordinal)
        seq += 1
    if source.digest() != result.source_digest or seq != result.requests:
        raise _changed(source)


def _changed(source: Described) -> SourceError:
    return SourceError(
        f"{source.name} changed while it was read",
        code=CHANGED,
        safe="nothing was sent; what was registered of it is not complete and is not used",
        next="let whatever writes it finish, then give the same command again",
    )


class Described(Protocol):
    """What a source says of itself."""

    @property
    def name(self) -> str:
        """What the user called it."""

    def shape(self) -> Shape:
        """Return the columns that templates may name."""


class _Maker:
    """Records to requests; the one place that both passes share."""

    def __init__(self, spec: JobSpec, profile: Profile, source: Described) -> None:
        self.rules = rules.RecordRules(spec, profile)
        # No columns at all means no readable record: that is then told, rather than the template.
        columns = source.shape().names or None
        pictures = PictureFolder(folder_of(spec.source), self.rules.max_line * 3 // 4)
        self.render = Renderer(spec, columns, profile=profile, load=pictures.load).render
        self._endpoint = spec.endpoint
        self._id_limit = profile.limits.custom_id_max
        self._frame = len(batch_line("", spec.endpoint, b"")) - len(text_json(""))
        self._source = source
        self._hash = BodyHash(spec).of if spec.dedup or spec.cache else None

    def custom_id(self, key: str) -> str:
        return custom_id(key, self._id_limit)

    def size(self, key: str, body: bytes) -> int:
        """Return the bytes of the batch line, line break included, without building it."""
        return self._size(self.custom_id(key), body)

    def _size(self, travelling_as: str, body: bytes) -> int:
        return self._frame + len(text_json(travelling_as)) + len(body)

    def request(self, seq: int, record: Record, ordinal: int) -> Request:
        key = self.rules.key(record)
        if isinstance(key, Violation):
            raise _changed(self._source)
        if ordinal:
            key = suffixed(key, ordinal)
        try:
            rendered = self.render(record)
        except TemplateError:
            raise _changed(self._source) from None
        return self.made(seq, record, key, rendered)

    def made(self, seq: int, record: Record, key: str, rendered: Rendered) -> Request:
        """Return the request that a record was rendered to."""
        travelling_as = self.custom_id(key)
        return Request(
            seq=seq,
            position=record.position,
            key=key,
            custom_id=travelling_as,
            model=rendered.model,
            record=record.raw or msgspec.json.encode(record.data),
            body=rendered.body,
            size=self._size(travelling_as, rendered.body),
            est_in=min(-(-rendered.quarter_tokens // 4), MOST_TOKENS),
            est_out=None if rendered.max_out is None else min(rendered.max_out, MOST_TOKENS),
            body_hash=self._hash(rendered.body) if self._hash else None,
        )


class OneByOne:
    """Records to requests, each checked by itself: for a job that grows as they come."""

    def __init__(self, spec: JobSpec, profile: Profile, source: Described) -> None:
        self._maker = _Maker(spec, profile, source)
        self._lines = spec.lines

    def request(self, seq: int, record: Record) -> Request | Violation:
        """Return the request that `record` becomes, or the first rule that it breaks."""
        maker = self._maker
        key = maker.rules.key(record)
        if isinstance(key, Violation):
            return key
        found = maker.rules.line(record) if self._lines else []
        if found:
            return found[0]
        try:
            rendered = maker.render(record)
        except TemplateError as error:
            return Violation(record.position, error.code, error.message)
        size = maker.size(key, rendered.body)
        if size > maker.rules.max_line:
            return maker.rules.too_large(record.position, key, size)
        return maker.made(seq, record, key, rendered)


class _Scanner:
    """One scan. `_tally` counts at once; where repeated keys change what is sent, it waits."""

    def __init__(
        self,
        spec: JobSpec,
        profile: Profile,
        source: Source,
        *,
        workdir: Path,
        report_limit: int,
        tally: Tally,
        buffer_bytes: int,
    ) -> None:
        self._spec = spec
        self._profile = profile
        self._source = source
        self._report_limit = report_limit
        self._report = _Report(report_limit)
        self._tally = tally
        self._waits = spec.on_duplicate != "error"
        self._deferred = Partitions(workdir, "sizes", 1, buffer_bytes)
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        kept = BodyHash(spec).digest if spec.dedup or spec.cache else quick_hash
        self._bodies = Bodies(workdir, buffer_bytes, kept)
        self._keys = Keys(
            workdir,
            id_limit=profile.limits.custom_id_max,
            on_duplicate=spec.on_duplicate,
            buffer_bytes=buffer_bytes,
        )
        self._rows = 0
        self._bad_rows = 0
        self._skipped = 0

    def run(self) -> Scan:
        self._read()
        digest = self._source.digest()
        self._keys.find()
        if self._waits:
            self._settle()
        tally = self._tally
        tally.close()
        models = tuple(sorted(tally.models.values(), key=lambda stats: stats.first_position))
        violations, total = self._violations(models)
        identical, spare = self._bodies.repeated()
        return Scan(
            source_name=self._source.name,
            source_digest=digest,
            shape=self._source.shape(),
            rows=self._rows,
            bad_rows=self._bad_rows,
            blank_rows=self._source.blank_rows,
            repeated=self._keys.repeated,
            skipped=self._skipped,
            requests=sum(stats.requests for stats in models),
            bytes=sum(stats.bytes for stats in models),
            identical=identical,
            spare=spare,
            models=models,
            files=tuple(tally.files),
            files_total=tally.files_total,
            violations=tuple(violations),
            violations_total=total,
            keys=self._keys,
            bodies=self._bodies,
        )

    def _read(self) -> None:
        maker = _Maker(self._spec, self._profile, self._source)
        for row in islice(self._source.records(), self._spec.limit):
            self._rows += 1
            if isinstance(row, BadRow):
                self._report.add(Violation(row.position, row.code, row.reason))
            elif self._record(maker, row):
                continue
            self._bad_rows += 1

    def _record(self, maker: _Maker, record: Record) -> bool:
        """Check and count one record; return whether it keeps every rule."""
        position = record.position
        key = maker.rules.key(record)
        found = [] if isinstance(key, str) else [key]
        if isinstance(key, str):
            self._keys.add(position, key)
        if self._spec.lines:
            found += maker.rules.line(record)
        if not (self._spec.lines and found):
            try:
                rendered = maker.render(record)
            except TemplateError as error:
                found.append(Violation(position, error.code, error.message))
        if not found and isinstance(key, str):
            size = maker.size(key, rendered.body)
            if size <= maker.rules.max_line:
                return self._count(position, size, rendered)
            found.append(maker.rules.too_large(position, key, size))
        self._report.extend(found)
        return False

    def _count(self, position: int, size: int, rendered: Rendered) -> bool:
        self._bodies.add(rendered.body)
        number = self._numbers.get(rendered.model)
        if number is None:
            number = len(self._names)
            if number >= rules.MAX_MODELS:
                self._report.add(rules.too_many_models(position))
                return False
            self._numbers[rendered.model] = number
            self._names.append(rendered.model)
        if self._waits:
            max_out = -1 if rendered.max_out is None else rendered.max_out
            payload = _DEFERRED.pack(size, rendered.quarter_tokens, max_out, number)
            self._deferred.append(0, position, payload)
        else:
            self._tally.add(
                rendered.model, position, size, rendered.quarter_tokens, rendered.max_out
            )
        return True

    def _settle(self) -> None:
        """Count what was put off, now that the repeated keys are known."""
        nothing = Repeat(_NO_POSITION, 0, 0)
        repeats = self._keys.repeats()
        repeat = next(repeats, nothing)
        for position, payload in self._deferred.entries(0):
            size, quarter_tokens, max_out, number = _DEFERRED.unpack(payload)
            # A repeated key of a record that breaks a rule has nothing put off to meet.
            while repeat.position < position:
                repeat = next(repeats, nothing)
            if repeat.position == position:
                if self._spec.on_duplicate == "skip":
                    self._skipped += 1
                    continue
                size += repeat.growth
            bound = None if max_out < 0 else max_out
            self._tally.add(self._names[number], position, size, quarter_tokens, bound)

    def _violations(self, models: tuple[ModelStats, ...]) -> tuple[list[Violation], int]:
        """Return the first violations by position, and how many there are in all."""
        found = rules.job_violations(self._spec, self._profile)
        if not self._rows:
            found.append(rules.no_records(self._source.name))
        first_lines = {stats.model: stats.first_position for stats in models}
        found += rules.mixed_models(first_lines, self._spec, self._profile)
        total = len(found) + self._report.total
        found += self._report.kept
        if not self._waits:
            total += self._keys.repeated
            named = islice(self._keys.named(), self._report_limit)
            found += [rules.repeated_key(*repeated) for repeated in named]
        return sorted(found)[: self._report_limit], total


class _Report:
    """The first violations of records, and the number of all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.kept: list[Violation] = []
        self.total = 0

    def add(self, violation: Violation) -> None:
        self.total += 1
        if len(self.kept) < self._limit:
            self.kept.append(violation)

    def extend(self, violations: list[Violation]) -> None:
        for violation in violations:
            self.add(violation)
