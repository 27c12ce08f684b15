"""Walk a list that comes in pages, against servers that never end one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from orchestrator.domain.errors import RejectedError, UnavailableError
from orchestrator.domain.remote import RemoteBatch, RemoteFile
from orchestrator.provider.wire import Page

MAX_PAGES = 2000
"""Of one list: a server that invents ids for ever is left after that."""

# Where the server does not say whether there is more, a page this long may have a successor even if
# it is shorter than asked for: Kimi's default page has 20 (platform.kimi.ai/docs/api/batch-list).
_MAY_GO_ON = 20

Params = dict[str, str | int]
Listed = TypeVar("Listed", RemoteBatch, RemoteFile)


def walk(fetch: Callable[[Params], Page[Listed]], *, what: str, limit: int) -> Iterator[Listed]:
    """Yield each element once, page by page, lazily; `limit` 0 asks for pages of any size.

    Ends with a page that brings no unseen id (some servers ignore `after`), or that is the last
    one. A server that refuses `limit` is asked without it. Memory: the ids seen. Raises
    UnavailableError after 2,000 pages, and for a page that has a successor but no id to ask for
    it with: a list cut short would prove an absence that is none.
    """
    seen: set[str] = set()
    params: Params = {"limit": limit} if limit else {}
    for _ in range(MAX_PAGES):
        page, params = _page(fetch, params)
        fresh = [item for item in page.items if item.id not in seen]
        for item in fresh:
            if item.id not in seen:
                seen.add(item.id)
                yield item
        if page.more and page.odd and not page.items:
            raise _cut_short(f"the list of {what} goes on, but no element of a page has an id")
        if not fresh or not _goes_on(page, limit):
            return
        params = {**params, "after": page.items[-1].id}
    raise _cut_short(f"the list of {what} does not end after {MAX_PAGES:,} pages")


def _cut_short(why: str) -> UnavailableError:
    return UnavailableError(why, code="ORC3204", safe="nothing was changed")


def _page(fetch: Callable[[Params], Page[Listed]], params: Params) -> tuple[Page[Listed], Params]:
    try:
        return fetch(params), params
    except RejectedError:
        # The largest page is stated nowhere: let the server choose its own.
        if "limit" not in params:
            raise
    params = {name: value for name, value in params.items() if name != "limit"}
    return fetch(params), params


def _goes_on(page: Page[Listed], limit: int) -> bool:
    if page.more is not None or not limit:
        return bool(page.more)
    return len(page.items) + page.odd >= min(limit, _MAY_GO_ON)
