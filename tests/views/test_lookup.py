from __future__ import annotations

import pytest

from orchestrator import api
from orchestrator.domain.errors import NotFound, UsageError


def test_a_job_is_found_by_name_by_unique_beginning_and_as_the_last(world):
    world.submit(1, name="labels")
    world.submit(1, name="labels-2")
    world.submit(1, name="tags")
    assert api.find_job(world.registry, "labels").name == "labels"
    assert api.find_job(world.registry, "ta").name == "tags"
    assert api.find_job(world.registry, "@last").name == "tags"


def test_a_beginning_of_several_names_is_refused_with_these_names(world):
    for name in ("labels-a", "labels-b"):
        world.submit(1, name=name)
    with pytest.raises(UsageError, match="beginning of several jobs") as error:
        api.find_job(world.registry, "labels")
    assert "labels-a, labels-b" in error.value.why


def test_a_mistyped_job_is_answered_with_the_nearest(world):
    world.submit(1, name="labels")
    with pytest.raises(NotFound, match='did you mean "labels"'):
        api.find_job(world.registry, "lables")


def test_the_last_job_of_an_empty_registry_is_not_found(world):
    with pytest.raises(NotFound, match="no job yet"):
        api.find_job(world.registry, "@last")


def test_a_batch_is_found_by_number_and_by_the_providers_id(world):
    world.submit(60)
    world.tick()
    batch = world.batches()[0]
    assert batch.remote_id
    for name in ("labels/b01", "lab/b1", batch.remote_id):
        job, found = api.find_batch(world.registry, name)
        assert (job.name, found.id) == ("labels", batch.id)


@pytest.mark.parametrize("name", ["labels/b09", "b01", "labels", "batch_nothing"])
def test_a_batch_that_is_not_there_is_said_to_be_so(world, name):
    world.submit(60)
    world.tick()
    with pytest.raises(NotFound):
        api.find_batch(world.registry, name)


def test_a_record_is_found_by_key_in_its_job_or_where_only_one_job_has_it(world):
    world.submit(3, name="labels")
    world.submit(5, name="tags")
    assert api.find_record(world.registry, "r-00004").job.name == "tags"
    assert api.find_record(world.registry, "r-00001", "labels").job.name == "labels"
    with pytest.raises(UsageError, match="several jobs"):
        api.find_record(world.registry, "r-00001")
    with pytest.raises(NotFound, match='job labels has no record "r-00004"'):
        api.find_record(world.registry, "r-00004", "labels")


def test_a_record_whose_key_is_no_custom_id_is_found_by_its_key(world, write_lines):
    odd = "ключ " * 30
    source = write_lines([f'{{"id":"{odd}","text":"a"}}'])
    world.submit(1, name="odd", source=str(source))
    assert api.find_record(world.registry, odd).job.name == "odd"
