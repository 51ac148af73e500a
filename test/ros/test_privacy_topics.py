"""The node's privacy mode: nobody is left on ~/overlay, ~/body says so, and nobody can switch it off."""

from __future__ import annotations

import numpy as np
from conftest import SIZE, cell_picture

PICTURE = cell_picture((2, 3))  # a person is a white cell


def test_people_are_covered_before_the_overlay_is_published(cliff, peer):
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import Image

    from cliff_ros.msg import SmplInfo

    cliff(privacy='people', overlay_joints=True)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    overlay, about = peer.listen(Image, '/cliff/overlay'), peer.listen(SmplInfo, '/cliff/body', latched)
    peer.bring_up()

    def drawn() -> bool:
        drawn.stamp += 1
        peer.show(PICTURE, (drawn.stamp, 0))
        peer.spin(0.05)
        return any(np.frombuffer(message.data, np.uint8).any() for message in overlay)  # somebody is on it

    drawn.stamp = 10
    assert peer.until(drawn, 60.0)  # the first time compiles the rasteriser
    for message in overlay:
        shown = np.frombuffer(message.data, np.uint8).reshape(SIZE[1], SIZE[0], 3)
        if (shown == 255).all(-1).any():  # only an image in which nobody was found yet is as it was
            np.testing.assert_array_equal(shown, PICTURE)
    last = np.frombuffer(overlay[-1].data, np.uint8).reshape(SIZE[1], SIZE[0], 3)
    assert not (last == 255).all(-1).any() and last.any()
    assert peer.until(lambda: about) and about[0].privacy == 'people'
    assert 'privacy' in peer.set(privacy='off')
