"""People in columns: rows, selections, what fits together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliff_ros.errors import InputError
from cliff_ros.people import COLUMNS, Box, People, Person, TrackState


def somebody(count: int, seed: int = 0, **changes) -> People:
    rng = np.random.default_rng(seed)
    columns = {
        'id': np.arange(count) + 10 * seed,
        'score': rng.uniform(size=count),
        'box': rng.uniform(0, 500, (count, 4)),
        'betas': rng.normal(size=(count, 10)),
        'rotations': rng.normal(size=(count, 24, 3, 3)),
        'translation': rng.normal(size=(count, 3)),
        'joints': rng.normal(size=(count, 24, 3)),
        'joints2d': rng.normal(size=(count, 24, 2)),
        'vertices': rng.normal(size=(count, 7, 3)).astype(np.float32),
        'track_state': rng.integers(0, 3, count).astype(np.uint8),
        'velocity': rng.normal(size=(count, 3)),
        'age': rng.uniform(0, 9, count),
        'presence': rng.uniform(size=count).astype(np.float32),
    }
    assert columns.keys() == COLUMNS.keys()
    return People(**columns | changes, timings={'infer': 1.0}, num_crops=count)


def same(people: People, rows: list[Person]) -> None:
    """Whether columns hold these rows, value by value."""
    assert len(people) == len(rows)
    for name, column in people.columns().items():
        assert column.shape[0] == len(rows)
        for value, row in zip(column, rows, strict=True):
            np.testing.assert_array_equal(value, getattr(row, name))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 5), st.data())
def test_it_reads_like_a_list(count, data):
    people, rows = somebody(count), list(somebody(count))
    assert len(people) == count and bool(people) == bool(rows) and list(people) == rows and people == rows
    same(people, rows)
    part = data.draw(st.slices(count))
    same(people[part], rows[part])
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), bool)
    same(people[mask], [row for row, chosen in zip(rows, mask, strict=True) if chosen])
    indices = data.draw(st.lists(st.integers(-count, count - 1), max_size=7)) if count else []
    same(people[indices], [rows[i] for i in indices])
    for chosen in (people[part], people[mask], people[indices]):  # of the same image
        assert chosen.timings == {'infer': 1.0} and chosen.num_crops == count
    same(People.of(rows), rows)
    same(People.concatenate([people[:2], people[2:]]), rows)


def test_a_row_is_a_view_with_the_types_that_users_know():
    people = somebody(3, track_state=np.array([0, 1, 2], np.uint8))
    person = people[1]
    assert type(person.id) is int and type(person.score) is float and type(person.age) is float
    assert person.track_state is TrackState.OK and person.presence == people.presence[1]
    person.joints[0] = 7.0
    assert (people.joints[1, 0] == 7.0).all()
    assert people[-1].id == people.id[-1] and people[-1] == people[2] != people[0]
    assert person.with_(id=9).id == 9 and person.id == 1 and person in people
    with pytest.raises(IndexError):
        people[3]


def test_columns_are_replaced_in_a_copy():
    people = somebody(2)
    other = people.with_(id=[5, 6], vertices=None, velocity=0.0, timings={}, num_crops=0)
    assert other.id.dtype == np.int64 and other.id.tolist() == [5, 6] and (other.velocity == 0).all()
    assert other.vertices is None and other[0].vertices is None and other.joints is people.joints
    assert people.id.tolist() == [0, 1] and people.vertices is not None and people.num_crops == 2
    with pytest.raises(TypeError, match='no beta'):
        people.with_(beta=0)


def test_some_are_replaced_by_others_in_a_copy():
    people, others = somebody(4), somebody(2, seed=1)
    changed = people.replaced(np.array([3, 1]), others)
    assert changed == [people[0], others[1], people[2], others[0]]
    assert people == somebody(4)


def test_what_not_everybody_has_is_left_out():
    bare, full = somebody(1, seed=1, vertices=None, presence=None), somebody(2)
    both = People.concatenate([bare, full, somebody(0)])
    assert both.vertices is None and both.presence is None and both.id.tolist() == [10, 0, 1] and both.num_crops == 0
    assert People.of([*full, *bare]).vertices is None
    assert People.concatenate([full, People.empty()]) is full  # nobody lacks nothing
    assert People.concatenate([]) == People.empty() == [] and People.of(full) is full


def test_nobody_has_columns_too():
    nobody = People.empty()
    assert not nobody and nobody == [] and nobody.joints.shape == (0, 24, 3) and nobody.box.shape == (0, 4)
    assert nobody.with_(box=[], joints2d=[]).joints2d.shape == (0, 24, 2)


def test_what_is_not_known_is_nan_and_a_number_stands_for_all():
    full = somebody(2)
    few = People(
        **{name: full.columns()[name] for name in ('id', 'betas', 'rotations', 'translation', 'joints')}, score=0.5
    )
    assert np.isnan(few.box).all() and few.box.shape == (2, 4) and np.isnan(few.joints2d).all()
    assert few.score.tolist() == [0.5, 0.5] and few.vertices is None and few[0].presence is None
    assert few[0].track_state is TrackState.NEW and (few.velocity == 0).all() and (few.age == 0).all()


@pytest.mark.parametrize(
    'changes, words',
    [
        ({'box': np.zeros((3, 4))}, r'box of 2 people must have the shape \(2, 4\), not \(3, 4\)'),
        ({'joints': np.zeros((2, 22, 3))}, r'\(2, 24, 3\), not \(2, 22, 3\)'),
        ({'vertices': np.zeros((2, 7, 2))}, r'\(2, any, 3\)'),
        ({'betas': 0.0}, r'\(2, any\), not \(\)'),
        ({'id': [[1, 2]]}, r'id of 2 people must have the shape \(2\), not \(1, 2\)'),
    ],
)
def test_columns_that_do_not_fit_are_named(changes, words):
    with pytest.raises(InputError, match=words):
        somebody(2, **changes)
    with pytest.raises(InputError, match=words):
        somebody(2).with_(**changes)


def test_selections_that_make_no_sense_are_refused():
    with pytest.raises(IndexError):
        somebody(2)[np.array([True, False, True])]
    with pytest.raises(InputError, match='chosen'):
        somebody(2)[np.zeros((1, 2), int)]
    with pytest.raises(InputError, match='betas is not of the same shape'):
        People.of([somebody(1)[0], somebody(1)[0].with_(betas=np.zeros(3))])


@pytest.mark.parametrize('id', [-1, 2**63])
def test_ids_of_boxes_fit_into_a_column(id):
    assert Box([0, 0, 1, 1], id=2**63 - 1).id == 2**63 - 1
    with pytest.raises(ValueError, match='64 bits'):
        Box([0, 0, 1, 1], id=id)
