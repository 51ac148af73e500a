"""`make soak`: faults are done to a real node, named and overcome; the report says so, and what is missed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from places import ROOT

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from bench import fault_soak, fault_world, tables
from bench.faults import FAULTS

MACHINE = {'date': '2026-01-02T03:04', 'cpu': 'CPU', 'cores': 2, 'python': '3.11', 'load': [0.5, 0, 0], 'versions': {}}
GOOD = {
    'machine': MACHINE,
    'seconds': 60.0,
    'rate': 30.0,
    'people': 2,
    'faults_injected': 2,
    'faults_to_name': 1,
    'faults_named': 1,
    'faults_recovered': 2,
    'named_at_all': 1,
    'recovered_at_all': 2,
    'memory_growth': 0.001,
    'deaths': 0,
    'memory_mb': [100.0, 100.1],
    'rows': [
        {'fault': 'camera stops', 'named_s': 1.5, 'seen_s': 0.2, 'gone_s': 1.3, 'well_s': 1.4},
        {'fault': 'encoding changes', 'seen_s': 0.1, 'well_s': 1.0},
    ],
}


@pytest.mark.parametrize(
    'change', [{'deaths': 1}, {'faults_named': 0}, {'faults_recovered': 1}, {'memory_growth': 0.02}], ids=str
)
def test_a_bar_that_is_missed_is_said(change):
    assert fault_soak.is_met(GOOD) and 'MISSED' not in tables.text(GOOD)
    assert not fault_soak.is_met(GOOD | change) and tables.text(GOOD | change).count('MISSED') == 1


def test_in_time_is_within_two_seconds_and_a_restart_may_be_talked_of():
    assert fault_soak.in_time(2.0, 0.1) and not fault_soak.in_time(2.1) and not fault_soak.in_time(0.1, None)
    row = {'fault': 'engine raises', 'seen_s': 1.0, 'gone_s': 5.0}
    assert not fault_soak.recovered(row) and fault_soak.recovered(row | {'gone_s': 1.0})
    assert fault_soak.recovered({'fault': 'encoding changes', 'seen_s': 1.0})
    assert fault_soak.recovered(row | {'fault': 'killed active'})
    assert not fault_soak.recovered({'fault': 'killed active', 'seen_s': None})


def test_the_document_has_a_place_for_the_tables():
    document = (ROOT / 'docs' / 'performance.md').read_text()
    assert '| camera stops ' in tables.refresh(document, GOOD)


def test_the_table_of_faults_is_whole():
    """What the fault table of the tests has, the soak has too."""
    wanted = (
        'camera stops', 'resolution', 'encoding', 'calibration', 'stamps equal', 'zero', 'back', 'ahead', 'deadline',
        'what was before', 'detector dies', 'engine raises', 'lost', 'memory', 'overload', 'never reads', 'clock',
        'disk full', 'killed unconfigured', 'killed configuring', 'killed inactive', 'killed active',
        'killed finalized', 'cut off', 'at random',
    )  # fmt: skip
    assert not [words for words in wanted if not any(words in name for name in FAULTS)]


@pytest.mark.slow
def test_faults_are_done_and_named_and_overcome(ros, tmp_path, monkeypatch):
    monkeypatch.setattr(fault_world, 'PEOPLE', 1)
    monkeypatch.setattr(fault_soak, 'PERIOD', 2.0)
    monkeypatch.setattr(fault_soak, 'LATE', 60.0)
    names = ['encoding nobody knows', 'engine raises', 'killed inactive']
    for name in names:
        monkeypatch.setitem(FAULTS, name, replace(FAULTS[name], hold=0.5))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    report = fault_soak.run(6.0, 10.0, tmp_path, names, 0)
    assert report['deaths'] == 0 and report['faults_injected'] == 3
    assert report['named_at_all'] == report['faults_to_name'] == report['recovered_at_all'] == 3, report['rows']
    assert {row['fault'] for row in report['rows']} == set(names) == {row['fault'] for row in report['rehearsal']}
    assert len(report['memory_mb']) >= 5 and tables.text(report)
