"""`cliff batch`: a command over many files, each in its own folder, once."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from cliff_ros import cli


@pytest.fixture
def folders(tmp_path):
    """Two recordings of two frames each, and one that is none."""
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        for i in range(2):
            cv2.imwrite(str(tmp_path / name / f'{i}.png'), np.full((120, 160, 3), 90 + i, np.uint8))
    (tmp_path / 'empty').mkdir()
    return tmp_path


def test_every_file_has_its_folder(folders, capsys) -> None:
    words = ['batch', 'video', str(folders / 'a'), str(folders / 'empty'), str(folders / 'b')]
    words += ['--output', str(folders / 'out'), '--options', '--fps 10', '--report', str(folders / 'report.json')]
    assert cli.main(words) == 1  # one of them holds no image
    assert 'empty' in capsys.readouterr().err
    report = json.loads((folders / 'report.json').read_text())
    assert [bool(one['value']) for one in report['units']] == [True, False, True] and report['frames'] == 4
    for name in ('a', 'b'):
        assert (folders / 'out' / name / 'people.npz').exists()
        assert json.loads((folders / 'out' / name / 'report.json').read_text())['frames'] == 2
    assert not (folders / 'out' / 'empty').exists()
    stamp = (folders / 'out' / 'a' / 'people.npz').stat().st_mtime_ns
    cv2.imwrite(str(folders / 'empty' / '0.png'), np.zeros((120, 160, 3), np.uint8))
    assert cli.main(words) == 0  # only what had failed is done again
    assert (folders / 'out' / 'a' / 'people.npz').stat().st_mtime_ns == stamp
    assert cli.main(['batch', 'video', str(folders / 'a'), 'x/a', '--output', str(folders / 'o')]) == 2
    assert 'same name' in capsys.readouterr().err


def test_a_plan_does_one_file(folders, capsys) -> None:
    assert cli.main(['batch', 'video', str(folders / 'a'), '--output', str(folders / 'out'), '--plan', '3']) == 0
    assert 'a million frames on 3 machine(s)' in capsys.readouterr().out
