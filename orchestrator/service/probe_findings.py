"""What a live probe has seen, held against the provider's profile. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from orchestrator.domain.profile import Quirks
from orchestrator.domain.remote import RemoteBatch, RemoteStatus

Verdict = Literal["ok", "warn", "fail"]
Created = Literal["refused", "accepted", "unanswered"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact. `line` is the profile's line that says what was found, where the two differ.

    `fact` names it for programs, `name` for people. `found` is True, False, seconds or a word;
    None when it could not be found out.
    """

    fact: str
    name: str
    verdict: Verdict
    text: str
    found: str | float | bool | None = None
    line: str = ""
    next: str = ""


def lag(what: str, took: float | None, waited: float, settle: float) -> Finding:
    """Judge how long a new `what` (file or batch) was missing from its list; None for ever.

    `settle`: seconds for which an unanswered creation is looked for before it is sent anew.
    """
    fact, name = f"{what}_list_lag", "file lag" if what == "file" else "list lag"
    longer = 'a longer settle time: [daemon] settle = "10m"'
    if took is None:
        text = f"a new {what} is not in the list after {waited:,.0f} s"
        return Finding(fact, name, "warn", text, None, next=longer)
    text = f"a new {what} is in the list after {took:,.1f} s"
    if took >= settle / 2:
        text += f"; an unanswered call is looked for over {settle:,.0f} s only"
        return Finding(fact, name, "warn", text, round(took, 1), next=longer)
    return Finding(fact, name, "ok", text, round(took, 1))


def revoking(over_deleted: Created, why: str, *, control: bool, quirks: Quirks) -> Finding:
    """Judge whether deleting an input file revokes a creation that is still on its way.

    `control`: the same call over a file that was not deleted went well; without it a refusal may
    have had any cause.
    """
    fact, name, known = "delete_revokes_create", "revoking", quirks.delete_revokes_create
    allowed = known in {"documented", "proved"}
    if over_deleted == "accepted":
        text = "a creation over a deleted file is accepted: deleting a file revokes nothing"
        line = "" if known == "disproved" else f'{fact} = "disproved"'
        return Finding(fact, name, "fail" if allowed else "ok", text, "disproved", line)
    if over_deleted == "unanswered" or not control:
        reason = why if over_deleted == "unanswered" else "over a file that is there it is refused"
        text = f"not found out: {reason}"
        return Finding(fact, name, "warn", text, None, next="run the probe again later")
    line = "" if known == "proved" else f'{fact} = "proved"'
    return Finding(
        fact, name, "ok", f"a creation over a deleted file is refused ({why})", "proved", line
    )


def metadata(
    sent: Mapping[str, str], shown: Mapping[str, RemoteBatch | None], quirks: Quirks
) -> list[Finding]:
    """Judge by what an unanswered creation can be found again: our metadata, our file's id.

    `shown`: the batch as it stood in create's `answer`, when `asked` for, and in the `list`.
    """
    seen = {place: batch for place, batch in shown.items() if batch is not None}
    with_tag = [p for p, b in seen.items() if sent.items() <= b.metadata.items()]
    with_file = [p for p, b in seen.items() if b.input_file_id]
    listed = "list" in with_tag
    line = ""
    if "list" in seen and listed != quirks.metadata_in_list:
        line = f"metadata_in_list = {str(listed).lower()}"
    found = [
        Finding(
            "metadata",
            "metadata",
            "ok" if len(with_tag) == len(seen) else "warn",
            _places("ours is shown", with_tag, list(seen)),
            listed if "list" in seen else None,
            line,
        )
    ]
    blind = "list" in seen and not listed and "list" not in with_file
    found.append(
        Finding(
            "input_file_id",
            "file id",
            "fail" if blind else "ok" if len(with_file) == len(seen) else "warn",
            _places("the input file's is shown", with_file, list(seen))
            + ("; an unanswered creation can't be found again" if blind else ""),
            "list" in with_file if "list" in seen else None,
        )
    )
    return found


def _places(what: str, shown: Sequence[str], looked: Sequence[str]) -> str:
    missing = [place for place in looked if place not in shown]
    words = {"answer": "create's answer", "asked": "the batch itself", "list": "the list"}
    if not missing:
        return f"{what} in {', '.join(words[p] for p in looked)}"
    hidden = f"not in {', '.join(words[p] for p in missing)}"
    return (
        f"{what} in {', '.join(words[p] for p in shown)}, {hidden}" if shown else f"{what} {hidden}"
    )


def repeated_key(*, same: bool) -> Finding:
    """Judge a creation that was sent twice under one idempotency key."""
    fact, name = "idempotent_create", "same key"
    if same:
        return Finding(fact, name, "ok", "a repeated key gives the same batch", True)
    text = "a repeated key makes another batch: the provider does not heed it"
    return Finding(fact, name, "fail", text, False, f"{fact} = false")


def deletion(before: RemoteBatch, after: RemoteBatch) -> Finding:
    """Judge what became of a batch whose input file was deleted when it stood as `before`."""
    fact, name = "deletion_under_way", "deletion"
    then = f"deleting the input file of a batch that is {before.word or before.status}"
    if before.status.terminal:
        return Finding(fact, name, "ok", f"not found out: the batch was {before.word} too soon")
    if after.status is RemoteStatus.FAILED:
        why = f": {after.errors[0][:120]}" if after.errors else ""
        return Finding(fact, name, "ok", f"{then} makes it fail{why}", "fails")
    if after.status is RemoteStatus.COMPLETED:
        return Finding(fact, name, "ok", f"{then} does not stop it: it completed", "goes_on")
    if after.status is not before.status and not after.status.terminal:
        return Finding(fact, name, "ok", f"{then} does not stop it: it is {after.word}", "goes_on")
    text = f"not found out: the batch stays {after.word}; it is cancelled now"
    return Finding(fact, name, "ok", text)
