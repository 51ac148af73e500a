"""`cliff bag` finds the people whom the node finds in the same images."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rosbags', reason="needs the extra 'record'")
pytest.importorskip('mcap_ros2', reason='needs mcap-ros2-support')

from conftest import FRAME, cell_picture
from recorded_bag import decoded, stamps, write_bag

from cliff_ros import cli
from cliff_ros.camera import Camera

CELLS = [((2, 2),), ((2, 2), (4, 5)), ((2, 3), (4, 5)), ((4, 5),)]


def test_the_same_people_as_the_node(peer, cliff, tiny_files, tmp_path) -> None:
    from cliff_ros.msg import SmplArray

    cliff()
    heard = peer.listen(SmplArray, '/cliff/people')
    peer.bring_up()
    info = peer.info((0, 0))
    camera = Camera(info.width, info.height, np.array(info.k).reshape(3, 3))
    images = [cell_picture(*cells) for cells in CELLS]
    for i, (stamp, image) in enumerate(zip(stamps(len(images)), images, strict=True)):
        peer.show(image, divmod(stamp, 10**9))
        assert peer.until(lambda i=i: len(heard) > i)  # one after the other: the node would drop some
    write_bag(tmp_path / 'bag', images, camera, FRAME)
    words = ['bag', str(tmp_path / 'bag'), str(tmp_path / 'out.mcap'), '--engine', 'onnx', '--threads', '1']
    words += ['--model', tiny_files['model'], '--detector', tiny_files['detector'], '--no-refine-boxes']
    assert cli.main([*words, '--score-threshold', '0.6', '--no-smoothing']) == 0
    found = decoded(tmp_path / 'out.mcap', '/cliff/people')
    assert [len(message.people) for message in found] == [len(message.people) for message in heard]
    assert sum(len(message.people) for message in found) > 0
    for ours, theirs in zip(found, heard, strict=True):
        assert (ours.header.stamp.sec, ours.header.stamp.nanosec) == (
            theirs.header.stamp.sec,
            theirs.header.stamp.nanosec,
        )
        assert [smpl.id for smpl in ours.people] == [smpl.id for smpl in theirs.people]
        for a, b in zip(ours.people, theirs.people, strict=True):
            for name in ('box', 'betas', 'joints2d'):
                np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-4)
            np.testing.assert_allclose(
                [(p.x, p.y, p.z) for p in a.joints], [(p.x, p.y, p.z) for p in b.joints], atol=1e-5
            )
            turns = [[(q.x, q.y, q.z, q.w) for q in smpl.rotations] for smpl in (a, b)]
            np.testing.assert_allclose(np.abs((np.array(turns[0]) * turns[1]).sum(1)), 1, atol=1e-6)
