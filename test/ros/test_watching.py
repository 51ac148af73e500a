"""`cliff view ros`: what a node publishes reaches the viewer with its image; nothing is heard while nobody looks."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from conftest import cell_picture

pytest.importorskip('viser', reason="needs the extra 'view'")

PICTURE = cell_picture((2, 3))


@pytest.fixture
def watched(ros):
    """A viewer that keeps what it was shown, and a watcher playing into it; nobody looks yet."""
    from cliff_ros.ros.watching import Watcher
    from cliff_ros.view.viewer import Viewer

    class Keeping(Viewer):
        def __init__(self) -> None:
            super().__init__(port=0)
            self.shown: list = []

        def show(self, moment) -> None:
            self.shown.append(moment)
            super().show(moment)

    with Keeping() as viewer:
        watcher, stop = Watcher(), threading.Event()
        thread = threading.Thread(target=watcher.play, args=(viewer, stop.is_set))
        thread.start()
        yield viewer
        stop.set()
        thread.join(20)
        watcher.close()


def test_people_come_with_their_image_and_only_while_somebody_looks(watched, cliff, peer):
    from cliff_ros.msg import SmplArray

    cliff()
    answers = peer.listen(SmplArray, '/cliff/people')
    peer.bring_up()
    assert peer.images.get_subscription_count() == 1  # the node's own
    watched.control.watch(True)
    assert peer.until(lambda: peer.images.get_subscription_count() == 2)

    def seen() -> bool:
        seen.stamp += 1
        peer.show(PICTURE, (seen.stamp, 0))
        peer.spin(0.05)
        return any(moment.people and moment.image is not None for moment in watched.shown)

    seen.stamp = 100
    assert peer.until(seen)
    moment = next(m for m in watched.shown if m.people and m.image is not None)
    answer = next(a for a in answers if a.header.stamp.sec == moment.stamp)
    person, smpl = moment.people[0], answer.people[0]
    np.testing.assert_array_equal(moment.image, PICTURE)
    np.testing.assert_allclose(person.joints, [(p.x, p.y, p.z) for p in smpl.joints])
    assert person.id == smpl.id and moment.camera.f == pytest.approx(500)
    pixels = moment.camera.project(person.joints)
    np.testing.assert_allclose(pixels, person.joints2d, atol=0.01)  # axes, calibration and order of rotations are right
    rebuilt, _ = moment.body(person.betas[None], person.rotations[None], person.translation[None])
    np.testing.assert_allclose(rebuilt[0], person.joints, atol=0.03)  # the tiny graph rounds its bodies
    watched.control.watch(False)
    assert peer.until(lambda: peer.images.get_subscription_count() == 1)


def test_numbers_that_are_nobody_are_refused(ros):
    from geometry_msgs.msg import Point
    from rclpy.serialization import serialize_message

    from cliff_ros.errors import InputError
    from cliff_ros.msg import Smpl, SmplArray
    from cliff_ros.ros.inputs.people_back import read_people

    for spoil in ('joints', 'rotations', 'betas'):
        smpl = Smpl(betas=[0.0] * 10)
        for quaternion in smpl.rotations:
            quaternion.w = 1.0
        assert len(read_people(serialize_message(SmplArray(people=[smpl])))[2]) == 1
        if spoil == 'joints':
            smpl.joints[3] = Point(x=float('nan'))
        elif spoil == 'rotations':
            smpl.rotations[2].w = 0.0
        else:
            smpl.betas = [float('inf')] * 10
        with pytest.raises(InputError, match='describe nobody'):
            read_people(serialize_message(SmplArray(people=[smpl])))
    with pytest.raises(InputError):
        read_people(serialize_message(SmplArray(people=[Smpl()]))[:60])
