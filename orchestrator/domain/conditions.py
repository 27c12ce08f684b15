"""A condition over the columns of a record: `stars >= 4 and lang == "en"`.

An expression as in templates, with no way to Python's objects. A column whose name is no word is
`row["its name"]`. Null is smaller than everything, so that `stars < 4` holds for it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import minijinja

from orchestrator.domain.errors import SourceError

UNFIT = "ORC2041"
FAILS = "ORC2042"
MAX_OPERATIONS = 100_000
_NAME = "condition"
_ROW = "row"
_FUNCTIONS = frozenset({"range", "dict", "debug", "namespace"})
_LITERAL = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_COLUMN_FIRST = re.compile(r"(?<![\w.\"'\])|])([A-Za-z_]\w*)\s*(?:[<>]=?|[=!]=)\s*-?\d")
_NUMBER_FIRST = re.compile(r"\d\s*(?:[<>]=?|[=!]=)\s*([A-Za-z_]\w*)(?!\s*[|(.\[\w])")


class ConditionFails(Exception):
    """A record for which the condition has no answer."""


class Condition:
    """What `text` asks of a record that has `columns`; with none given any name may stand in it.

    Raises SourceError (ORC2041) for what is no expression, or names a column that is not there.
    """

    def __init__(self, text: str, columns: Sequence[str] = ()) -> None:
        self.text = text
        self._environment = minijinja.Environment(
            undefined_behavior="strict", fuel=MAX_OPERATIONS, auto_escape_callback=_never_escape
        )
        self._refuse_no_expression()
        self._environment.add_template(_NAME, f"{{% if ({text}) %}}1{{% endif %}}")
        names = self._environment.undeclared_variables_in_str(f"{{{{ ({text}) }}}}")
        self._with_row = _ROW in names and _ROW not in columns
        if columns:
            self._refuse_unknown(names - _FUNCTIONS - {_ROW}, columns)
        plain = _LITERAL.sub("''", text)
        self._numeric = {*_COLUMN_FIRST.findall(plain), *_NUMBER_FIRST.findall(plain)}

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Tell whether the condition holds for a record. Raises ConditionFails."""
        for name in self._numeric:
            # Any text is greater than any number: an answer, and never the one that is meant.
            if type(data.get(name)) is str:
                raise ConditionFails(
                    f'the condition compares "{name}" with a number, here it is text: '
                    f"write {name}|float"
                )
        values = {_ROW: data, **data} if self._with_row else data
        try:
            return bool(self._environment.render_template(_NAME, **values))
        except minijinja.TemplateError as error:
            raise ConditionFails(
                f"the condition can't be told: {error.detail or error.message}"
            ) from None
        except (TypeError, ValueError, OverflowError) as error:
            raise ConditionFails(f"the condition can't be told: {error}") from None

    def _refuse_no_expression(self) -> None:
        try:
            self._environment.eval_expr(self.text)
        except minijinja.TemplateError as error:
            if error.kind == "SyntaxError":
                raise _unfit(self.text, str(error.detail or error.message)) from None
            # Only that no record was given.
        except (TypeError, ValueError, OverflowError) as error:
            raise _unfit(self.text, str(error)) from None

    def _refuse_unknown(self, names: set[str], columns: Sequence[str]) -> None:
        for name in sorted(names - set(columns)):
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f'did you mean "{near[0]}"? ' if near else ""
            raise _unfit(
                self.text,
                f'there is no column "{name}"; {hint}the columns are {", ".join(columns[:20])}',
            )


def _unfit(text: str, why: str) -> SourceError:
    return SourceError(
        f"the condition {text[:80]} can't be used",
        code=UNFIT,
        why=why[:400],
        safe="nothing was registered, nothing was sent",
        next="write it as in templates: --only \"stars >= 4 and lang == 'en'\"",
    )


def _never_escape(_name: str) -> bool:
    return False
