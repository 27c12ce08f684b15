"""Every Arrow value comes back from its JSON text and the words of its type."""

import datetime
import uuid
from decimal import Decimal

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from support.arrow_data import TYPED, arrays, same

from orchestrator.sinks.arrow_values import codec_of
from orchestrator.sources.arrow_json import json_values
from orchestrator.sources.arrow_types import NoTextForm, stored_type, type_of, words_of

NOON = datetime.datetime(2024, 7, 1, 12, tzinfo=datetime.UTC)


@settings(max_examples=150, deadline=None)
@given(TYPED)
def test_the_words_of_a_type_bring_it_back(typed):
    kind, _ = typed
    assert type_of(words_of(kind)) == kind


@settings(max_examples=150, deadline=None)
@given(arrays())
def test_values_come_back_from_their_json_text(array):
    text = msgspec.json.encode(json_values(array))
    back = codec_of(array.type).array(msgspec.json.decode(text))
    back.validate(full=True)
    assert back.type == array.type
    assert same(back.to_pylist(), array.to_pylist())


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (pa.array([Decimal("0.0000000001")], pa.decimal128(20, 10)), "0.0000000001"),
        (pa.array([NOON], pa.timestamp("s", "Europe/Berlin")), "2024-07-01T12:00:00Z"),
        (pa.array([datetime.date(2024, 7, 1)]), "2024-07-01"),
        (pa.array([float("-inf")]), "-Infinity"),
        (pa.array([b"\0\xff"]), "AP8="),
        (pa.array([90], pa.duration("s")), 90),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())), [["k", 1]]),
        (pa.array(["x"]).dictionary_encode(), "x"),
        (pa.array([1.5], pa.float16()), 1.5),
        (pa.array(["x"], pa.string_view()), "x"),
        (pa.array([[1, 2]], pa.list_(pa.int8(), 2)), [1, 2]),
        (pa.array([uuid.UUID(int=1).bytes], pa.uuid()), str(uuid.UUID(int=1))),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_is_told_so(array, told):
    assert json_values(array) == [told]
    assert codec_of(stored_type(array.type)).array([told]).to_pylist()


@pytest.mark.parametrize(
    "kind",
    [
        pa.month_day_nano_interval(),
        pa.dense_union([pa.field("a", pa.int8())]),
        pa.struct([pa.field("a", pa.int8()), pa.field("a", pa.int8())]),
        pa.list_(pa.month_day_nano_interval()),
    ],
    ids=str,
)
def test_a_type_without_a_form_as_text_is_refused(kind):
    with pytest.raises(NoTextForm):
        words_of(kind)


@pytest.mark.parametrize("words", ["", "int65", "list<item: int8", "struct<a: nope>", "int8>"])
def test_words_of_no_type_are_refused(words):
    with pytest.raises(ValueError, match="no Arrow type"):
        type_of(words)
