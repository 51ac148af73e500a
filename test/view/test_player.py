"""A source plays into the page while somebody looks, one image a step, and from the camera that was chosen."""

from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest
from conftest import cell_picture

pytest.importorskip('viser', reason="needs the extra 'view'")

from cliff_ros import cli
from cliff_ros.pipeline import Pipeline
from cliff_ros.sources import open_source
from cliff_ros.view.player import Player
from cliff_ros.view.viewer import Viewer

FRAMES = 30


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    for i in range(FRAMES):
        cv2.imwrite(str(folder / f'{i}.png'), cell_picture((2, 3)))
    return folder


@pytest.fixture
def playing(folder, tiny_files):
    """The viewer, and the stamps of all that it was shown; a player goes on in a thread."""
    shown: list[tuple[float, int]] = []

    class Keeping(Viewer):
        def show(self, moment) -> None:
            shown.append((moment.stamp, len(moment.people)))
            super().show(moment)

    pipeline = Pipeline(**tiny_files, engine='onnx', threads=1, min_hits=1, score_threshold=0.6)
    player, stop = Player(open_source(str(folder), fps=200.0), pipeline), threading.Event()
    ended: list[bool] = []
    with Keeping(port=0, rate=200.0, sources=('one', 'other')) as viewer:
        thread = threading.Thread(target=lambda: ended.append(player.play(viewer, stop.is_set)))
        thread.start()
        yield viewer, shown, ended
        stop.set()
        thread.join(20)
        player.close()


def until(condition, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_nothing_is_read_while_nobody_looks_and_one_image_a_step(playing):
    viewer, shown, ended = playing
    time.sleep(0.3)
    assert not shown
    viewer.control.pause(True)
    viewer.control.watch(True)
    time.sleep(0.2)
    assert not shown
    for count in (1, 2, 3):
        viewer.control.step()
        assert until(lambda count=count: viewer.drawn == count)
        time.sleep(0.1)
        assert len(shown) == count
    viewer.control.pause(False)
    assert until(lambda: ended == [False])  # the folder has ended
    assert len(shown) == FRAMES and (np.diff([stamp for stamp, _ in shown]) > 0).all()
    assert all(people == 1 for _, people in shown)


def test_it_ends_when_another_camera_is_chosen(playing):
    viewer, _, ended = playing
    viewer.control.watch(True)
    viewer.control.choose(1)
    assert until(lambda: ended == [True])


def test_the_command_says_what_it_cannot_do(capsys):
    assert cli.main(['view', '--rate', '0']) == 2
    assert cli.main(['view', 'nowhere.mp4', '--port', '0']) == 2
    assert "There is no 'nowhere.mp4'" in capsys.readouterr().err
    assert cli.main(['view', '--host', '192.0.2.1']) == 2
    assert 'Nothing can listen' in capsys.readouterr().err
