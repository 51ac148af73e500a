"""Reports that people look at: one HTML file without anything outside of it, and the same as a picture."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import cv2
import miniatures
import numpy as np
import pytest

from cliff_ros import cli
from cliff_ros.errors import InputError
from cliff_ros.evaluation.page import Worst, bins_chart, joints_chart
from cliff_ros.render.page import Chart, Page, Pictures, Table


class Seen(HTMLParser):
    """Tags and text of a page; fails on what reaches outside of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ''
        self.images: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert name not in ('href', 'srcset') and not name.startswith('on')
            if name == 'src':
                assert value.startswith('data:image/jpeg;base64,')
                self.images.append(value)

    def handle_data(self, data) -> None:
        self.text += data


def page() -> Page:
    found = Page('A <title>', 'and "text"')
    found.add(Chart('Bars', ['one & two', 'nothing', 'none'], [3.0, None, 0.0], 'mm'))
    found.add(Table('Rows', ['', 'n'], [['<script>alert(1)</script>', '7']]))
    found.add(Pictures('Pictures', [np.full((30, 40, 3), 200, np.uint8)] * 2, ['a', 'b']))
    found.add(Chart('Empty', [], []))
    return found


def test_a_page_is_one_file_that_runs_nothing(tmp_path) -> None:
    page().write(tmp_path / 'page.html')
    seen = Seen((tmp_path / 'page.html').read_text())
    assert 'script' not in seen.tags and len(seen.images) == 2
    for text in ('A <title>', 'one & two', '<script>alert(1)</script>', '3 mm', 'Rows'):
        assert text in seen.text
    assert 'Empty' not in seen.text
    widths = [float(w) for w in re.findall(r'<rect[^>]* width="([\d.]+)"', (tmp_path / 'page.html').read_text())]
    assert widths == [700, 0, 0]


def test_the_same_page_as_a_picture(tmp_path) -> None:
    page().write(tmp_path / 'page.png')
    picture = cv2.imread(str(tmp_path / 'page.png'))
    assert picture.shape[1] == 1200
    blue = (picture.astype(int) - [190, 130, 70] == 0).all(2)
    rows = np.flatnonzero(blue.sum(1) > 100)
    assert len(rows) > 10 and np.ptp(rows) < 30  # one bar has a length
    with pytest.raises(InputError, match='--page'):
        page().write(tmp_path / 'page.pdf')


def test_the_worst_are_kept() -> None:
    worst = Worst(3)
    for number, error in enumerate([5.0, 1.0, 9.0, np.nan, 7.0, 2.0]):
        if worst.wants(error):
            worst.add(error, number, np.zeros((20, 30, 3), np.uint8), f'{error:.0f}')
    assert worst.section('w').captions == ['9', '7', '5']
    assert joints_chart(np.arange(48.0).reshape(2, 24)).values[0] == 35
    bins = {'0-5': {'n': 2, 'mpjpe_mm': 30.0}, '5-10': {'n': 0, 'mpjpe_mm': None}}
    assert bins_chart('b', bins).labels == ['0-5 (2)']


def test_evaluate_and_video_write_pages(tmp_path) -> None:
    words = ['evaluate', '--frames', '2', '--size', '320x240', '--page', str(tmp_path / 'p.html')]
    assert cli.main(words) == 0
    seen = Seen((tmp_path / 'p.html').read_text())
    for text in ('Error by joint', 'Error by angle', 'Error by distance', 'Worst images', 'left wrist'):
        assert text in seen.text
    assert seen.images
    root = tmp_path / 'data'
    shots = miniatures.shots(1, people=2)
    miniatures.emdb(root, shots * 3)
    words = [
        'evaluate',
        '--dataset',
        'emdb1',
        '--root',
        str(root),
        '--body',
        str(miniatures.bodies(tmp_path / 'bodies')),
    ]
    assert cli.main([*words, '--page', str(tmp_path / 'emdb.html')]) == 0
    seen = Seen((tmp_path / 'emdb.html').read_text())
    assert 'Worst people' in seen.text and '103.1' in seen.text and len(seen.images) == 2
    frames = tmp_path / 'frames'
    for i in range(3):
        shots[0].write(frames / f'{i}.png')
    assert cli.main(['video', str(frames), '--page', str(tmp_path / 'video.html')]) == 0
    seen = Seen((tmp_path / 'video.html').read_text())
    assert 'People per frame' in seen.text and len(seen.images) == 3
    assert cli.main(['video', str(frames), '--page', str(tmp_path / 'video.doc')]) == 2
