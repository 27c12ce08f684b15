"""The seeded bugs: what is changed where, and the cheapest tests that must notice it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

CAUGHT = "tests/mutants/test_caught.py::test_"
DECISIONS = "tests/domain/test_decide.py::test_"
MATCHING = "tests/domain/test_matching.py::test_"
REGISTRY = "tests/registry/test_registry.py::test_"
CRASHES = "tests/crash/test_calls.py::test_"
MAIN_JOB = "tests/engine/test_main_job.py::test_"


class Edit(NamedTuple):
    """Text of a module, which stands there exactly once, and what takes its place."""

    module: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A bug of one kind. `caught_by`: a selection of tests, of which one at least must fail."""

    name: str
    edits: Sequence[Edit]
    caught_by: Sequence[str]


def seeded(source: str, edits: Sequence[Edit]) -> str:
    """Return `source` with the edits made. Raises LookupError for text that is not there once."""
    for edit in edits:
        found = source.count(edit.old)
        if found != 1:
            raise LookupError(f"{edit.module} holds {edit.old!r} {found} times, not once")
        source = source.replace(edit.old, edit.new)
    return source


CREATE = "orchestrator.engine.steps.create"
BATCHES = "orchestrator.registry.batches"
CLAIMS = "orchestrator.registry.claims"
DECIDE = "orchestrator.domain.decide"
WORK = "orchestrator.service.work"

REFUSED = "refused_lines_are_asked_again_and_permanent_ones_fail_with_the_providers_words"

_INTENT = "    batch = ctx.record(batch, CreateBegan(create_began_at=ctx.now()))\n"
_CREATED = "    return start_following(ctx, batch, remote, spec, Created)\n"

MUTANTS = (
    Mutant(
        "intent commit dropped",
        (
            Edit(CREATE, _INTENT, ""),
            # The table lets the batch go on as if the intent had been there.
            Edit(
                "orchestrator.domain.transitions",
                "        CreateBegan: S.CREATING,\n",
                "        CreateBegan: S.CREATING,\n"
                "        Created: S.LIVE,\n"
                "        CreateUnanswered: S.CREATE_UNKNOWN,\n",
            ),
        ),
        (f"{CAUGHT}nothing_with_an_effect_is_sent_before_its_intent_is_committed",),
    ),
    Mutant(
        "intent after send",
        (Edit(CREATE, _INTENT, ""), Edit(CREATE, _CREATED, _INTENT + _CREATED)),
        (f"{CAUGHT}nothing_with_an_effect_is_sent_before_its_intent_is_committed",),
    ),
    Mutant(
        "epoch left out of a predicate",
        (
            Edit(
                BATCHES,
                "    return update(batches).where(*_MINE_IN_STATE)",
                "    return update(batches).where(_MINE_IN_STATE[0], _MINE_IN_STATE[2])",
            ),
        ),
        (f"{CAUGHT}a_claim_is_worth_nothing_once_its_worker_has_claimed_anew",),
    ),
    Mutant(
        "owner name instead of epoch",
        (
            Edit(
                BATCHES,
                "    return update(batches).where(*_MINE_IN_STATE)",
                "    mine = or_(batches.c.owner.is_(None), batches.c.owner == bindparam('me'))\n"
                "    return update(batches).where(_MINE_IN_STATE[0], _MINE_IN_STATE[2], mine)",
            ),
            Edit(BATCHES, "str, Any]) -> bool:", "str, Any], me: str = '') -> bool:"),
            Edit(BATCHES, "    new = {f", "    mine['me'] = me\n    new = {f"),
            Edit(BATCHES, "state, **times}):", "state, **times}, actor):"),
        ),
        (f"{CAUGHT}a_claim_is_worth_nothing_once_its_worker_has_claimed_anew",),
    ),
    # A claim is also the rescue of what dead workers hold: it looks again by locking what it picks.
    Mutant(
        "rescue without re-check",
        (Edit(CLAIMS, "        .with_for_update(skip_locked=True, of=table)\n", ""),),
        (f"{CAUGHT}what_one_worker_is_claiming_another_passes_over",),
    ),
    Mutant(
        "rowcount ignored",
        (
            Edit(
                BATCHES,
                'state": moved.state, **times}):',
                'state": moved.state, **times}) and False:',
            ),
        ),
        (f"{REGISTRY}a_move_by_a_worker_that_was_taken_over_touches_nothing[sqlite]",),
    ),
    Mutant(
        "blind create retry",
        (
            Edit(
                CREATE,
                "        return unanswered(ctx, batch, error.message)\n",
                "        return refused_for_now(ctx, batch, error)\n",
            ),
        ),
        (f"{CRASHES}any_fault_of_any_call_is_outlived[sqlite-create-late]",),
    ),
    Mutant(
        "adopt without revoke",
        (
            Edit(
                DECIDE,
                "return Step.REVOKE if can_revoke else Step.GIVE_UP",
                "return Step.RENEW if can_revoke else Step.GIVE_UP",
            ),
        ),
        (
            f"{DECISIONS}an_unanswered_create_is_looked_for_settled_revoked_and_only_then_renewed",
        ),
    ),
    Mutant(
        "adopt from the first list page only",
        (
            Edit(
                "orchestrator.engine.steps.find",
                "    for remote in provider.list_batches():\n",
                "    page = range(provider.profile.quirks.list_batches_limit)\n"
                "    for _, remote in zip(page, provider.list_batches()):\n",
            ),
        ),
        (f"{CAUGHT}a_batch_is_found_however_many_were_made_since",),
    ),
    Mutant(
        "settle skipped",
        (
            Edit(
                DECIDE,
                "    if now < settled_at or batch.looks < pace.settle_looks:\n",
                "    if now < settled_at and batch.looks == 0:\n",
            ),
        ),
        (f"{DECISIONS}an_unanswered_create_is_looked_for_settled_revoked_and_only_then_renewed",),
    ),
    Mutant(
        "metadata match only",
        (Edit("orchestrator.engine.steps.find", "if by_token or by_file:", "if by_token:"),),
        (f"{CAUGHT}a_batch_whose_metadata_nobody_shows_is_found_by_its_input_file",),
    ),
    Mutant(
        "account fingerprint ignored",
        (
            Edit(
                "orchestrator.engine.context",
                "if batch.fingerprint and batch.fingerprint != provider.fingerprint:",
                "if batch.fingerprint and not provider.fingerprint:",
            ),
            Edit(
                "orchestrator.engine.refresh",
                "    return batch.fingerprint is None or batch.fingerprint == provider.fingerprint",
                "    return bool(provider.fingerprint or batch.fingerprint)",
            ),
        ),
        (f"{CAUGHT}the_key_of_another_account_proves_no_absence",),
    ),
    Mutant(
        "row before rename",
        (
            Edit(
                "orchestrator.engine.steps.build",
                "    return ctx.record(batch, Built(",
                "        return ctx.record(batch, Built(",
            ),
        ),
        (f"{CAUGHT}no_committed_row_names_a_file_that_is_not_whole_on_disk",),
    ),
    Mutant(
        "no directory fsync",
        (
            Edit(
                "orchestrator.spool",
                "            _sync_directory(self.directory)\n",
                "",
            ),
        ),
        (f"{CAUGHT}a_spool_file_is_synced_then_renamed_and_the_directory_synced",),
    ),
    Mutant(
        "parse before length check",
        (
            Edit(
                "orchestrator.provider.download",
                "if expected is not None and self.size != expected:",
                "if expected is not None and self.size > expected:",
            ),
        ),
        (f"{CAUGHT}a_download_shorter_than_announced_is_not_there_to_be_read",),
    ),
    Mutant(
        "error file skipped",
        (
            Edit(
                "orchestrator.engine.steps.collect",
                '        errors = _download(ctx, provider, batch, "error", batch.error_file_id)\n',
                "        errors = None\n",
            ),
        ),
        (f"{MAIN_JOB}{REFUSED}[sqlite]",),
    ),
    Mutant(
        "last success wins",
        (Edit("orchestrator.domain.matching", "if wins:", "if wins or succeeded:"),),
        (f"{MATCHING}the_first_success_of_a_member_stays",),
    ),
    Mutant(
        "unknown id matched by order",
        (
            Edit(
                "orchestrator.domain.matching",
                "            return Odd(place, UNKNOWN_ID)\n",
                "            if place.line > len(self._file):\n"
                "                return Odd(place, UNKNOWN_ID)\n"
                "            index = place.line - 1\n",
            ),
        ),
        (f"{MATCHING}a_line_nobody_asked_for_is_odd_whatever_stands_around_it",),
    ),
    Mutant(
        "poll error counted as failure",
        (
            Edit(
                "orchestrator.engine.steps.follow",
                "from orchestrator.domain.errors import GoneError\n",
                "from orchestrator.domain.errors import GoneError, ProviderError\n",
            ),
            Edit(
                "orchestrator.engine.steps.follow",
                "    except GoneError as error:\n        now",
                "    except ProviderError as error:\n        now",
            ),
        ),
        (f"{CAUGHT}a_provider_that_is_down_for_longer_than_a_batch_may_be_gone_loses_none",),
    ),
    Mutant(
        "due time forgotten",
        (
            Edit(
                BATCHES,
                '"state_at": moved.state_at, "due_at": moved.due_at}',
                '"state_at": moved.state_at}',
            ),
        ),
        (f"{CAUGHT}a_batch_is_collected_as_soon_as_it_is_seen_to_have_ended",),
    ),
    Mutant(
        "lease by wall clock",
        (
            Edit(
                WORK,
                "        began = self._app.clock.monotonic()\n\n        def work",
                "        began = self._app.clock.now().timestamp()\n\n        def work",
            ),
            Edit(
                WORK,
                "return self._until - self._app.clock.monotonic()",
                "return self._until - self._app.clock.now().timestamp()",
            ),
        ),
        (f"{CAUGHT}a_clock_that_is_set_neither_ends_nor_lengthens_a_lease",),
    ),
    # What keeps a worker alive in the eyes of others is its lease, which a thread of its own
    # renews. The like of a watchdog that is pinged whatever happens: the thread vouches for a lease
    # that the registry did not renew.
    Mutant(
        "watchdog pinged by a helper thread",
        (
            Edit(
                WORK,
                "continue  # doubt: `left` runs down, and sends stop before it is over",
                "renewed = True",
            ),
        ),
        (f"{CAUGHT}a_lease_that_is_not_renewed_runs_down_whatever_its_thread_does",),
    ),
    Mutant(
        "attempt burned on outage",
        (
            Edit(
                "orchestrator.domain.retry",
                "frozenset({Cause.QUOTA, Cause.EXPIRED, Cause.CANCELLED, Cause.MISSING})",
                "frozenset({Cause.QUOTA})",
            ),
        ),
        (f"{CAUGHT}a_batch_that_expires_burns_no_attempt_of_its_records",),
    ),
    Mutant(
        "cleanup before reconcile",
        (
            Edit(
                "orchestrator.engine.steps.collect",
                "    return _take(ctx, batch, output, errors)\n",
                "    for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):\n"
                "        provider.delete_file(file_id)\n"
                "    return _take(ctx, batch, output, errors)\n",
            ),
        ),
        (f"{CAUGHT}nothing_is_deleted_at_the_provider_before_it_is_recorded",),
    ),
)  # fmt: skip
