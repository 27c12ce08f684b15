"""The console handed to every command: stdout is the result, stderr everything else."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TextIO

from orchestrator import human
from orchestrator.cli.errors import render
from orchestrator.cli.tables import (
    Column,
    Format,
    Look,
    Row,
    aligned,
    bare,
    jsonable,
    separated,
    to_json,
)
from orchestrator.cli.terminal import (
    ColourChoice,
    World,
    is_tty,
    is_unicode,
    shows_colour,
    styled,
)
from orchestrator.domain.errors import GuardError, OrchestratorError, UsageError


@dataclass(slots=True)
class OutputOptions:
    """What the global options say about output. `format` None: decided by the terminal."""

    format: Format | None = None
    fields: tuple[str, ...] = ()
    quiet: bool = False
    verbose: int = 0
    colour: ColourChoice = "auto"
    no_input: bool = False


class Console:
    """Writes results, notes, documents, tables and questions as the streams and options ask.

    Commands decide nothing about terminals: they hand over data and a way to say it.
    """

    def __init__(self, world: World, options: OutputOptions, zone: Callable[[], tzinfo]) -> None:
        self._world = world
        self.options = options
        self._zone = zone

    @property
    def format(self) -> Format:
        """The format in force: asked for, else a table on a terminal and TSV in a pipe."""
        return self.options.format or ("table" if self.tty else "tsv")

    @property
    def machine(self) -> bool:
        """Whether JSON was asked for: a person's words don't belong on stdout then."""
        return self.options.format in ("json", "jsonl")

    @property
    def tty(self) -> bool:
        """Whether a person reads stdout."""
        return is_tty(self._world.stdout)

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return max(20, self._world.columns())

    @property
    def unicode(self) -> bool:
        """Whether stdout takes glyphs."""
        return is_unicode(self._world.stdout)

    @property
    def interactive(self) -> bool:
        """Whether somebody is there to answer a question."""
        both = is_tty(self._world.stdin) and is_tty(self._world.stderr)
        return both and not self.options.no_input

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return self._world.now()

    def zone(self) -> tzinfo:
        """Return the user's zone."""
        return self._zone()

    def style(self, text: str, style: str) -> str:
        """Return `text` in a colour, bold or dim, where stdout shows colour."""
        return self._paint(self._world.stdout, text, style)

    def state(self, name: str, words: str = "") -> str:
        """Return a state's glyph and word in its colour."""
        text = human.state(name, unicode=self.unicode, words=words)
        return self.style(text, human.look_of(name).colour)

    def say(self, text: str = "") -> None:
        """Write a line of the result to stdout; nothing when JSON was asked for."""
        if not self.machine:
            self._write(self._world.stdout, text)

    def note(self, text: str) -> None:
        """Write a line for people to stderr, unless --quiet."""
        if not self.options.quiet:
            self._write(self._world.stderr, text)

    def detail(self, text: str) -> None:
        """Write a line to stderr with -v only."""
        if self.options.verbose:
            self._write(self._world.stderr, text)

    def flush(self) -> None:
        """Hand over what is buffered: a full disk or closed pipe shows here, not at exit."""
        self._world.stdout.flush()
        self._world.stderr.flush()

    def document(self, command: str, data: object, human: Callable[[Console], None]) -> None:
        """Write one document: `human` says it through this console, JSON holds `data`.

        The schema is `orchestrator.<command>/1`; --fields keeps these of the data's keys.
        """
        if not self.machine:
            self._refuse_list_format(command)
            human(self)
            return
        whole = {**self._envelope(command), "data": self._kept(jsonable(data))}
        indent = 2 if self.options.format == "json" else None
        self._write(self._world.stdout, to_json(whole, indent=indent))

    def result(self, command: str, text: str, data: object, *, piped: str | None = None) -> None:
        """Say what a command did and how to see or undo it; JSON holds `data`.

        `piped` is what a pipe gets on stdout instead (a name); the text is a note then.
        """

        def speak(console: Console) -> None:
            if piped is None:
                console.say(text)
            elif console.tty:
                console.note(text)
            else:
                console.note(text)
                console.say(piped)

        self.document(command, data, speak)

    def event(self, command: str, data: object, text: str) -> None:
        """Write one item of a follow: a line of text, or one JSON object a line."""
        if self.machine:
            whole = {**self._envelope(command), "data": self._kept(jsonable(data))}
            self._write(self._world.stdout, to_json(whole))
        else:
            self.say(text)
        self._world.stdout.flush()

    def table(
        self,
        command: str,
        rows: Iterable[Row],
        columns: Sequence[Column],
        *,
        empty: str = "nothing to show",
    ) -> int:
        """Write a list in the format in force and return how many rows it had.

        Rows are mappings with a value for each column's key; JSON holds all columns, a table those
        that are shown, --fields chooses. Streams: memory does not grow with the list. For no rows
        people get the note `empty`.
        """
        chosen = self._chosen(columns)
        rows = _Counted(rows)
        match self.format:
            case "json":
                self._json_list(command, rows, chosen)
            case "jsonl":
                self._lines(to_json(_item(row, chosen)) for row in rows)
            case "csv" | "tsv" as kind:
                self._lines(separated(rows, self._visible(chosen), kind))
            case "id":
                column = next((c for c in columns if c.kind == "id"), columns[0])
                self._lines(bare(row.get(column.key)) for row in rows)
            case "table":
                self._lines(aligned(rows, self._visible(chosen), self._look()))
        if not rows.count and not self.machine:
            self.note(empty)
        return rows.count

    def confirm_mildly(self, text: str, undo: str) -> None:
        """Say what was done without asking, and how to undo it."""
        self.note(f"{text}; undo: {undo}")

    def confirm(self, question: str, *, yes: bool, facts: Sequence[str] = ()) -> None:
        """Ask `[y/N]`, or take --yes.

        `facts` are counts, possible charge and what stays. Raises GuardError (ORC7005) when the
        answer is no, or when nobody is there to ask; nothing has been changed then.
        """
        if yes:
            return
        self._ask_or_refuse(question, facts, "--yes")
        if self._answer(f"{question} [y/N] ").lower() not in ("y", "yes"):
            raise _declined(question)

    def confirm_name(
        self, question: str, name: str, *, given: str | None, facts: Sequence[str] = ()
    ) -> None:
        """Ask for `name` to be typed, or take it from --confirm; --yes is not enough.

        Raises GuardError (ORC7005) as `confirm` does.
        """
        if given == name:
            return
        if given is not None:
            raise GuardError(
                f'--confirm names "{given}", not "{name}"',
                code="ORC7005",
                safe="nothing was changed",
                next=f"--confirm {name}",
            )
        self._ask_or_refuse(question, facts, f"--confirm {name}")
        if self._answer(f'{question} type "{name}" to go on: ') != name:
            raise _declined(question)

    def error(self, error: OrchestratorError, *, machine: bool, trace: str = "") -> None:
        """Write an error to stderr, for programs as JSON in the last line; `trace` with -v."""
        stream = self._world.stderr
        if trace and self.options.verbose:
            self._write(stream, trace.rstrip("\n"))
        lines = render(
            error,
            width=self.width if is_tty(stream) else 0,
            verbose=bool(self.options.verbose),
            paint=functools.partial(self._paint, stream),
        )
        for line in lines:
            self._write(stream, line)
        if machine:
            self._write(stream, to_json(dict(error.to_dict())))

    def _ask_or_refuse(self, question: str, facts: Sequence[str], flag: str) -> None:
        if not self.interactive:
            raise GuardError(
                f"this needs a confirmation: {question}",
                code="ORC7005",
                why="--no-input was given" if self.options.no_input else "there is no terminal",
                safe="nothing was changed",
                next=f"run it again with {flag}",
                details=facts,
            )
        for fact in facts:
            self._write(self._world.stderr, f"  {human.plain(fact)}")

    def _answer(self, prompt: str) -> str:
        self._world.stderr.write(prompt)
        self._world.stderr.flush()
        return self._world.stdin.readline().strip()

    def _envelope(self, command: str) -> dict[str, object]:
        return {"schema": f"orchestrator.{command}/1", "as_of": human.rfc3339(self.now())}

    def _kept(self, data: object) -> object:
        if not self.options.fields or not isinstance(data, dict):
            return data
        for name in self.options.fields:
            if name not in data:
                raise _no_field(name, list(data))
        return {name: data[name] for name in self.options.fields}

    def _chosen(self, columns: Sequence[Column]) -> Sequence[Column]:
        by_key = {column.key: column for column in columns}
        for name in self.options.fields:
            if name not in by_key:
                raise _no_field(name, list(by_key))
        return [by_key[name] for name in self.options.fields] or columns

    def _visible(self, columns: Sequence[Column]) -> Sequence[Column]:
        return columns if self.options.fields else [c for c in columns if c.shown]

    def _json_list(self, command: str, rows: Iterable[Row], columns: Sequence[Column]) -> None:
        out = self._world.stdout
        out.write(to_json(self._envelope(command))[:-1] + ',"data":[')
        before = "\n"
        for row in rows:
            out.write(before + to_json(_item(row, columns)))
            before = ",\n"
        out.write("\n]}\n")

    def _refuse_list_format(self, command: str) -> None:
        if self.options.format in ("csv", "tsv", "id"):
            raise UsageError(
                f"--format {self.options.format} is for lists; {command} gives one document",
                next="--format json",
            )

    def _look(self) -> Look:
        return Look(self.width, self.now(), self.zone, self.unicode, self.style)

    def _lines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._write(self._world.stdout, line)

    def _paint(self, stream: TextIO, text: str, style: str) -> str:
        if shows_colour(stream, self._world.environ, self.options.colour):
            return styled(text, style)
        return text

    @staticmethod
    def _write(stream: TextIO, text: str) -> None:
        stream.write(text + "\n")


class _Counted:
    """An iterable that knows how many items went through."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._left = iter(rows)
        self.count = 0

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> Row:
        row = next(self._left)
        self.count += 1
        return row


def _item(row: Row, columns: Sequence[Column]) -> Mapping[str, object]:
    return {column.key: jsonable(row.get(column.key)) for column in columns}


def _no_field(name: str, known: Sequence[str]) -> UsageError:
    near = difflib.get_close_matches(name, known, n=1)
    return UsageError(
        f'there is no field "{name}"' + (f', did you mean "{near[0]}"?' if near else ""),
        where="--fields",
        why="the fields are " + ", ".join(known),
        next="--fields " + ",".join(near or known[:2]),
    )


def _declined(question: str) -> GuardError:
    return GuardError(f"not confirmed: {question}", code="ORC7005", safe="nothing was changed")
