"""One thread that is a step ahead: what is waited for comes while the last one is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield `items`, each fetched in a thread while the one before it is used; two at a time.

    What fetching raises is raised here, in its place.
    """
    with ThreadPoolExecutor(1, "ahead") as pool:
        coming = pool.submit(lambda: list(_one(items)))
        while got := coming.result():
            coming = pool.submit(lambda: list(_one(items)))
            yield got[0]


def _one(items: Iterator[T]) -> Iterator[T]:
    for item in items:
        yield item
        return
