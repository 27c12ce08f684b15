"""Options of a source: what each kind takes, anything else is refused by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from orchestrator.domain.errors import SourceError

UNFIT = "ORC2032"
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def refuse_unknown(options: Mapping[str, Any], known: Sequence[str], kind: str) -> None:
    """Raise SourceError (ORC2032) for an option that a source of this kind does not take."""
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise SourceError(
                f'a source of the kind {kind} has no option "{name[:40]}"',
                code=UNFIT,
                why=f"{takes}" + (f"; did you mean {near[0]}?" if near else ""),
                next=f"leave {name[:40]} out, or say another --source-format",
            )
