"""What `plan` and `submit` share: a job from a job spec, a file or standard input, and flags."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from orchestrator.cli import source_options
from orchestrator.cli.options import DURATION
from orchestrator.cli.session import Session
from orchestrator.cli.sink_options import sinks_of
from orchestrator.domain.errors import (
    ConfigError,
    NotFound,
    UsageError,
)
from orchestrator.domain.job_names import check_name, job_name
from orchestrator.domain.spec import Canary, JobSpec

if TYPE_CHECKING:
    from orchestrator.sources.port import Opening

STANDARD_INPUT = "-"
MANY_ROWS = 100_000
"""So many rows take seconds to read: a person is told before."""

ANOTHER_JOB = "job:"
FLAGS = {
    "settings": "--set",
    "overrides": "--override",
    "images": "--image",
    "sinks": "--sink",
}
"""The options whose values have a name of their own in the code."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A job as the command line declares it, and what a person should know about how.

    `files` are those that its template and schema were read from, each with its SHA-256.
    """

    spec: JobSpec
    notes: Sequence[str] = field(default_factory=tuple)
    files: Mapping[str, str] = field(default_factory=dict)


def intake_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add every option that says how records become a job; passed as keywords."""
    options = (
        click.option(
            "--key", metavar="COLUMN", help="column that identifies a record, or a,b; else id"
        ),
        click.option("--prompt", metavar="TEXT", help="the prompt, with {column} placeholders"),
        click.option(
            "--template", metavar="FILE", help="the prompt as a file: Jinja syntax, or .toml"
        ),
        click.option("--system", metavar="TEXT", help="system message"),
        click.option("--lines", is_flag=True, help="the source holds ready batch lines"),
        click.option("--provider", metavar="NAME", help="where it goes"),
        click.option("--model", metavar="NAME", help="the model it asks"),
        click.option("--window", metavar="WINDOW", help="completion window, 24h"),
        click.option(
            "--set",
            "settings",
            metavar="body.X=VALUE",
            multiple=True,
            help="a further field of each request body; may be given often",
        ),
        click.option(
            "--override",
            "overrides",
            metavar="body.X=COLUMN",
            multiple=True,
            help="a field of the body, or model, taken from a column; may be given often",
        ),
        click.option(
            "--image",
            "images",
            metavar="COLUMN",
            multiple=True,
            help="column with the path of a picture for the message; may be given often",
        ),
        click.option(
            "--answer",
            metavar="FILE",
            help="file with a JSON Schema that answers must fit",
        ),
        click.option(
            "--source-format", metavar="FORMAT", help="jsonl, csv, parquet...; else by the ending"
        ),
        *source_options.OPTIONS,
        click.option(
            "--limit", type=click.IntRange(min=1), metavar="N", help="the first N records only"
        ),
        click.option(
            "--on-duplicate",
            type=click.Choice(("error", "suffix", "skip")),
            help="what a key that comes twice does; else error",
        ),
        click.option("--split-models", is_flag=True, help="lines of several models: a file each"),
        click.option(
            "--metadata", metavar="K=V", multiple=True, help="tag kept with the job; may repeat"
        ),
        click.option(
            "--sink",
            "sinks",
            metavar="SINK",
            multiple=True,
            help="where outcomes go by themselves: FILE, sql:CONNECTION/TABLE, https://...",
        ),
        click.option("--stream", is_flag=True, help="sinks get outcomes as they come"),
        click.option("--dedup", is_flag=True, help="send equal requests once, answer all of them"),
        click.option("--cache", is_flag=True, help="use the answers that earlier jobs had"),
        click.option(
            "--cache-max-age", type=DURATION, metavar="AGE", help="those of at most that age, 7d"
        ),
        click.option(
            "--budget", metavar="MONEY", help='nothing is sent that may lead beyond it, "25 USD"'
        ),
        click.option(
            "--canary",
            type=click.IntRange(min=1),
            metavar="N",
            help="the first N records go ahead, the rest when they meet --require",
        ),
        click.option(
            "--require",
            metavar="COND",
            multiple=True,
            help="what the canary must meet: failed < 2%; may be given often",
        ),
        click.option("--name", metavar="NAME", help="name of the job; else the spec's or file's"),
    )
    for option in reversed(options):
        function = option(function)
    return function


@contextmanager
def declared_job(
    session: Session, source: str, options: Mapping[str, Any], opening: Opening
) -> Iterator[Declared]:
    """Yield the job that `source` and flags declare; standard input is kept in a file meanwhile.

    `opening` is what the source may reach.

    Raises NotFound for what is neither a job spec nor a file, and the errors of a wrong flag.
    """
    with ExitStack() as stack:
        notes: list[str] = []
        files: Mapping[str, str] = {}
        if source == STANDARD_INPUT:
            path, name = stack.enter_context(_kept_input(session))
            base = _from_file(session, path, options, name)
            # The file is another one each time: what it is a run of is told by the job's name.
            base = msgspec.structs.replace(base, series=options["name"] or name)
        elif source in session.configuration.settings.jobs:
            base, files = _from_spec(session, source)
        elif source.startswith(ANOTHER_JOB):
            name = f"from-{source.removeprefix(ANOTHER_JOB)}"
            base = _from_source(session, source, options, job_name(name))
        elif source_options.is_location(source) and not (session.world.cwd / source).exists():
            location = source_options.located(session, source)
            name = source_options.name_of(source, options)
            base = _from_source(session, location, options, name)
        else:
            path = session.world.cwd / source
            _refuse_if_nothing(session, source, path)
            base = _from_file(session, path, options, job_name(path.stem))
        base, given = _with_files(session, base, options)
        files = {**_still_read(session, source, files, options), **given}
        spec = _laid_over(session, base, options)
        if source in session.configuration.settings.jobs:
            if (session.world.cwd / source).is_file():
                notes.append(f"{source} is the job spec; the file of that name is ./{source}")
        else:
            spec = _recognised(spec, notes, opening)
        yield Declared(check_name(spec), tuple(notes), files)


def _refuse_if_nothing(session: Session, source: str, path: Path) -> None:
    """Say what `source` may have meant, unless it is a file."""
    if path.exists():
        return
    if "." in source or "/" in source:
        raise NotFound(
            f"there is no file {source}",
            code="ORC2002",
            where=str(path),
            next="check the path of the source",
        )
    session.configuration.job(source)


def _from_spec(session: Session, name: str) -> tuple[JobSpec, Mapping[str, str]]:
    from orchestrator.settings import job_and_files  # noqa: PLC0415 - help needs none of it

    return job_and_files(session.configuration, name)


def _still_read(
    session: Session, source: str, files: Mapping[str, str], options: Mapping[str, Any]
) -> Mapping[str, str]:
    """Return the files of a job spec whose content counts: a flag may replace its template."""
    if not files or not any(options[name] for name in ("prompt", "template", "lines")):
        return files
    replaced = session.configuration.job(source).template
    return {path: sha256 for path, sha256 in files.items() if Path(path) != replaced}


def _with_files(
    session: Session, base: JobSpec, options: Mapping[str, Any]
) -> tuple[JobSpec, Mapping[str, str]]:
    """Return `base` with what the files of --template and --answer say, and those files."""
    from orchestrator.settings import templates  # noqa: PLC0415 - help needs none of it

    files: dict[str, str] = {}
    if options["template"]:
        path = session.world.cwd / options["template"]
        read = templates.read_template(path, help_line="check the path given with --template")
        base = templates.laid_over(base, read.changes)
        files |= read.files
    if options["answer"]:
        read = templates.read_answer(session.world.cwd / options["answer"])
        base = templates.laid_over(base, read.changes)
        files |= read.files
    return base, files


def _from_file(session: Session, path: Path, options: Mapping[str, Any], name: str) -> JobSpec:
    return _from_source(session, str(path), options, name)


def _from_source(session: Session, source: str, options: Mapping[str, Any], name: str) -> JobSpec:
    from orchestrator.settings import policy  # noqa: PLC0415 - help needs none of it

    configuration = session.configuration
    defaults = configuration.settings.defaults
    return JobSpec(
        name=name,
        source=source,
        provider=_provider(session, options),
        model=defaults.model,
        window=defaults.window,
        policy=policy(configuration),
    )


def _provider(session: Session, options: Mapping[str, Any]) -> str:
    asked = options["provider"] or session.configuration.default_provider()
    if asked is None:
        raise ConfigError(
            "nothing says where the job goes",
            code="ORC1110",
            why="no provider is given, and there is not exactly one to choose",
            next="--provider kimi, or set defaults.provider; to try things out: --provider sandbox",
        )
    return session.configuration.provider(asked).name


_SAME_NAME = (
    "key",
    "prompt",
    "system",
    "model",
    "window",
    "source_format",
    "limit",
    "on_duplicate",
    "name",
)


def _laid_over(session: Session, base: JobSpec, options: Mapping[str, Any]) -> JobSpec:
    """Return `base` with what the flags say."""
    changes: dict[str, Any] = {
        name: options[name] for name in _SAME_NAME if options[name] is not None
    }
    if options["provider"]:
        changes["provider"] = session.configuration.provider(options["provider"]).name
    given = [name for name in ("prompt", "template", "lines") if options[name]]
    if given:
        # What a flag says replaces the spec's own way of making requests.
        others = {"prompt": None, "template": None, "lines": False}
        changes = {**{n: v for n, v in others.items() if n not in given}, **changes}
    if options["images"]:
        changes["images"] = tuple(options["images"])
    if options["overrides"]:
        changes["overrides"] = {**base.overrides, **_overrides(options["overrides"])}
    if options["lines"]:
        changes["lines"] = True
    if options["split_models"]:
        changes["split_models"] = True
    changes |= _sharing(options)
    changes |= _guards(base, options)
    if options["settings"]:
        changes["body"] = _body(base.body, options["settings"])
    if options["metadata"]:
        changes["metadata"] = {**base.metadata, **_pairs(options["metadata"])}
    if options["sinks"] or options["stream"]:
        changes["sinks"] = sinks_of(session, base, options)
    changes |= source_options.changes(session, base, options)
    return msgspec.structs.replace(base, **changes)


def _guards(base: JobSpec, options: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {"budget": options["budget"]} if options["budget"] else {}
    if options["canary"] or options["require"]:
        before = base.canary or Canary(records=0)
        records = options["canary"] or before.records
        if not records:
            raise UsageError(
                "--require judges a canary, and there is none",
                code="ORC1120",
                next=f'--canary 200 --require "{options["require"][0]}"',
            )
        required = tuple(options["require"]) or before.require
        changes["canary"] = Canary(records=records, require=required)
    return changes


def _sharing(options: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {"dedup": True} if options["dedup"] else {}
    if options["cache"] or options["cache_max_age"]:
        changes["cache"] = True
    if options["cache_max_age"]:
        changes["cache_max_age"] = max(1, int(options["cache_max_age"].total_seconds()))
    return changes


def _body(base: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(json.dumps(dict(base)))
    for setting in settings:
        name, equals, text = setting.partition("=")
        parts = name.split(".")
        if not equals or len(parts) < 2 or parts[0] != "body" or not all(parts):
            raise UsageError(
                f"--set {setting[:80]} is not of the form body.NAME=VALUE",
                next="--set body.max_tokens=64",
            )
        *path, last = parts[1:]
        inner = body
        for part in path:
            below = inner.setdefault(part, {})
            if not isinstance(below, dict):
                raise UsageError(
                    f"--set {name}: body.{part} is a value, not a table",
                    next=f"--set body.{part}=VALUE",
                )
            inner = below
        inner[last] = _value(text)
    return body


def _overrides(given: Sequence[str]) -> dict[str, str]:
    overrides = {}
    for each in given:
        field_name, equals, column = each.partition("=")
        if not equals or not column or not (field_name == "model" or field_name[:5] == "body."):
            raise UsageError(
                f"--override {each[:80]} is not of the form body.NAME=COLUMN",
                next="--override body.max_tokens=COLUMN, or --override model=COLUMN",
            )
        overrides[field_name.removeprefix("body.")] = column
    return overrides


def _value(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return JSON where `text` is JSON, else the text itself: `64`, `true`, `[1]`, `high`."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return text


def _pairs(given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(
                f"--metadata {pair[:80]} is not of the form NAME=VALUE",
                next="--metadata team=support",
            )
        pairs[name] = value
    return pairs


def _recognised(spec: JobSpec, notes: list[str], opening: Opening) -> JobSpec:
    """Return `spec` with what the first record shows: ready batch lines, or a key column."""
    from orchestrator.sources.recognising import recognised  # noqa: PLC0415 - help needs none of it
    from orchestrator.sources.registry import open_source  # noqa: PLC0415

    source = open_source(
        spec.source, spec.source_format, options=spec.source_options, opening=opening
    )
    found = recognised(spec, source)
    rows = source.shape().rows
    if rows is not None and rows >= MANY_ROWS:
        notes.append(f"{source.name} has {rows:,} rows; each is read before anything is done")
    if found.lines and not spec.lines:
        notes.append("the source holds ready batch lines: they are sent as they stand")
    return found


@contextmanager
def _kept_input(session: Session) -> Iterator[tuple[Path, str]]:
    """Keep standard input in a file of its own for as long as it is read, and name a job by it."""
    from orchestrator.engine.pictures import keep_word  # noqa: PLC0415 - help needs none of it
    from orchestrator.sources.files import spool_stream  # noqa: PLC0415 - help needs none of it
    from orchestrator.spool import digest  # noqa: PLC0415

    stdin = session.world.stdin
    if session.console.interactive:
        raise UsageError(
            "standard input is a terminal: there are no records to read",
            next="cat records.jsonl | orchestrator submit - --prompt TEXT",
        )
    parent = session.configuration.spool_directory
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="stdin-", dir=parent) as folder:
        keep_word(Path(folder), session.world.cwd)
        path = Path(folder) / "stdin"
        if hasattr(stdin, "buffer"):
            spool_stream(stdin.buffer, path)
        else:
            path.write_text(stdin.read(), encoding="utf-8")
        named = path.rename(path.with_suffix(_ending(path)))
        yield named, f"stdin-{digest(named).sha256[:8]}"


_MAGIC = {b"PAR1": ".parquet", b"ARROW1": ".arrow", b"PK\x03\x04": ".xlsx"}
"""How files begin that are no text."""


def _ending(path: Path) -> str:
    """Return the ending that says what standard input holds, by how it begins."""
    with path.open("rb") as file:
        head = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, ending in _MAGIC.items():
        if head.startswith(magic):
            return ending
    return ".jsonl" if head.startswith(b"{") or not head else ".csv"
