"""Work over many units with real processes: in order, once each, whatever dies."""

from __future__ import annotations

import pytest

from cliff_ros.errors import InputError
from cliff_ros.scale.run import Plan, plan, run_units


def units(folder, count: int = 6, **more) -> list[dict]:
    return [dict(number=i, folder=str(folder), **more) for i in range(count)]


def journal(folder) -> list[int]:
    path = folder / 'journal'
    return sorted(map(int, path.read_text().split())) if path.exists() else []


def test_outcomes_come_in_order_from_several_processes(tmp_path) -> None:
    told = []
    found = list(
        run_units('scale_units:square', units(tmp_path), tmp_path / 'notes', 2, told=lambda n, o: told.append(n))
    )
    assert [one.value['square'] for one in found] == [0, 1, 4, 9, 16, 25]
    assert len({one.value['process'] for one in found}) == 2 and sorted(told) == list(range(6))
    assert journal(tmp_path) == list(range(6)) and min(one.memory_mb for one in found) > 5
    # A second start does nothing twice, and says the same.
    again = list(run_units('scale_units:square', units(tmp_path), tmp_path / 'notes', 2))
    assert again == found and journal(tmp_path) == list(range(6))
    with pytest.raises(InputError, match='other work'):
        list(run_units('scale_units:square', units(tmp_path, 5), tmp_path / 'notes', 2))


def test_a_killed_worker_loses_nothing(tmp_path) -> None:
    found = list(run_units('scale_units:killed_once', units(tmp_path, victim=2), tmp_path / 'notes', 2))
    assert (tmp_path / 'was_killed').exists()
    assert [one.value['square'] for one in found] == [0, 1, 4, 9, 16, 25]
    assert [one.tries for one in found] == [1, 1, 2, 1, 1, 1] and journal(tmp_path) == list(range(6))


def test_what_cannot_be_done_is_said_and_the_rest_is_done(tmp_path) -> None:
    found = list(run_units('scale_units:killed_always', units(tmp_path, 3), tmp_path / 'a', 1))
    assert [bool(one.error) for one in found] == [False, True, False]
    assert 'died 3 times' in found[1].error and found[1].tries == 3
    found = list(run_units('scale_units:refused', units(tmp_path, 4), tmp_path / 'b', 2))
    assert found[2].error == 'the second cannot be read' and [one.value is None for one in found] == [
        False,
        False,
        True,
        False,
    ]
    before = journal(tmp_path)
    list(run_units('scale_units:refused', units(tmp_path, 4), tmp_path / 'b', 2))
    assert journal(tmp_path) == before  # only the failed one was tried again


def test_a_plan_multiplies_what_was_measured(tmp_path) -> None:
    one = Plan(frames=100, seconds=36.0, memory_mb=512)
    assert one.hours(1e6, 1, 1) == pytest.approx(100) and one.hours(1e6, 5, 2) == pytest.approx(10)
    assert '10.0 hours' in one.text(5, 2) and '1.0 GB' in one.text(5, 2)
    measured = plan('scale_units:square', units(tmp_path)[0], lambda outcome: outcome.value['frames'])
    assert measured.frames == 10 and measured.memory_mb > 5
    failed = plan('scale_units:refused', dict(number=2, folder=str(tmp_path)), lambda outcome: 1)
    assert 'cannot be read' in failed.error


def test_ray_does_the_same(tmp_path) -> None:
    pytest.importorskip('ray')
    found = list(run_units('scale_units:killed_once', units(tmp_path, victim=2), tmp_path / 'notes', ray='local'))
    assert [one.value['square'] for one in found] == [0, 1, 4, 9, 16, 25]
    assert journal(tmp_path) == list(range(6))
