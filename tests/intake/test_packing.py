import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.errors import SourceError
from orchestrator.domain.packing import FileLimits, Packer, SizedRequest, pack

LIMITS = st.builds(FileLimits, max_bytes=st.integers(50, 200), max_requests=st.integers(1, 10))
SIZES = st.lists(st.integers(1, 50), max_size=60)


def sized(sizes):
    return [SizedRequest(number, size) for number, size in enumerate(sizes)]


def fewest_in_order(sizes, limits):
    best = [0] + [len(sizes)] * len(sizes)
    for end in range(1, len(sizes) + 1):
        total = 0
        for start in range(end - 1, -1, -1):
            total += sizes[start]
            if total > limits.max_bytes or end - start > limits.max_requests:
                break
            best[end] = min(best[end], best[start] + 1)
    return best[-1]


@settings(deadline=None)
@given(SIZES, LIMITS)
def test_every_request_is_in_exactly_one_legal_file_in_order(sizes, limits):
    files = list(pack(sized(sizes), limits))
    assert [request for file in files for request in file] == sized(sizes)
    for file in files:
        assert 0 < len(file) <= limits.max_requests
        assert sum(request.size for request in file) <= limits.max_bytes


@settings(deadline=None)
@given(SIZES, LIMITS)
def test_no_other_packing_in_order_takes_fewer_files(sizes, limits):
    assert len(list(pack(sized(sizes), limits))) == fewest_in_order(sizes, limits)


@settings(deadline=None)
@given(SIZES, LIMITS)
def test_the_preview_counts_the_very_files_that_are_packed(sizes, limits):
    packer = Packer("m", limits)
    files = [file for file in (*map(packer.add, sizes), packer.close()) if file]
    packed = [(len(file), sum(r.size for r in file)) for file in pack(sized(sizes), limits)]
    assert [(file.requests, file.bytes) for file in files] == packed


def test_a_file_may_be_filled_to_the_last_byte():
    limits = FileLimits(max_bytes=10, max_requests=3)
    assert [len(file) for file in pack(sized([5, 5, 1]), limits)] == [2, 1]


def test_the_first_file_is_made_without_reading_the_rest():
    def endless():
        number = 0
        while True:
            yield SizedRequest(number, 10)
            number += 1

    rows = endless()
    assert len(next(pack(rows, FileLimits(max_bytes=35, max_requests=100)))) == 3
    assert next(rows).id == 4


def test_a_request_that_fits_no_file_is_named_with_its_size_and_the_limit():
    with pytest.raises(SourceError, match=r"request 1 is 1,001 bytes.* at most 1,000") as caught:
        list(pack(sized([1, 1001]), FileLimits(max_bytes=1000, max_requests=5)))
    assert caught.value.code == "ORC2017"


def test_limits_come_from_the_profile_and_never_pass_the_cap(kimi):
    assert FileLimits.of(kimi) == FileLimits(100_000_000, 50_000)
    assert FileLimits.of(kimi, cap=7).max_requests == 7
