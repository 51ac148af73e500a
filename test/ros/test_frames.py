"""Names of frames: unique by default, and what somebody else publishes under one of ours is said. Over a real graph."""

from __future__ import annotations

import time

import pytest
from conftest import FRAME, Peer, cell_picture

pytest.importorskip('rclpy', reason='needs ROS 2')
pytest.importorskip('cliff_ros.msg', reason='needs the generated messages: install the package')

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from cliff_ros.msg import SmplArray
from cliff_ros.ros.outputs.frame_names import frame_prefix, parents_and_children

ONE = cell_picture((2, 2))


@pytest.mark.parametrize(
    'setting, namespace, prefix',
    [
        ('auto', '/', ''),
        ('auto', '/robot', 'robot/'),
        ('auto', '/robot/left', 'robot/left/'),
        ('', '/robot', ''),
        ('eye_', '/robot', 'eye_'),
    ],
)
def test_the_namespace_is_the_prefix_unless_another_is_set(setting, namespace, prefix):
    assert frame_prefix(setting, namespace) == prefix


def names(messages: list[TFMessage]) -> set[str]:
    return {t.child_frame_id for message in messages for t in message.transforms}


def foreign(frame: str, parent: str = 'other_camera') -> TFMessage:
    """Somebody else's frame."""
    transform = TransformStamped(child_frame_id=frame)
    transform.header.frame_id = parent
    transform.transform.rotation.w = 1.0
    return TFMessage(transforms=[transform])


def messages_of(diagnostics: list[DiagnosticArray]) -> str:
    return ' '.join(status.message for array in diagnostics for status in array.status)


def test_names_are_read_from_the_bytes_and_lengths_are_not_believed():
    from rclpy.serialization import serialize_message

    message = TFMessage(
        transforms=[
            foreign(child, parent).transforms[0]
            for child, parent in (('smpl_1', 'eye'), ('smpl_1/head', 'smpl_1'), ('ö', ''))
        ]
    )
    raw = serialize_message(message)
    frames = [(t.header.frame_id, t.child_frame_id) for t in message.transforms]
    assert parents_and_children(raw) == frames
    for end in range(len(raw)):
        assert parents_and_children(raw[:end]) == frames[: len(parents_and_children(raw[:end]))]
    for at in range(4, len(raw) - 4):  # a count, a length, or anything else, is four billion
        parents_and_children(raw[:at] + b'\xff' * 4 + raw[at + 4 :])


def test_two_nodes_in_two_namespaces_share_no_frame(start, peer, tiny_files):
    """Both processes see the same pictures, so both give out the same ids."""
    tf = peer.listen(TFMessage, '/tf')
    people = {space: peer.listen(SmplArray, f'/{space}/cliff/people') for space in 'ab'}
    mesh = {space: peer.listen(MarkerArray, f'/{space}/cliff/mesh') for space in 'ab'}
    diagnostics = peer.listen(DiagnosticArray, '/diagnostics')
    for space in 'ab':
        start(
            'cliff_ros.ros.node',
            {'__ns': f'/{space}', 'image': '/image', 'camera_info': '/camera_info'},
            autostart='true',
            score_threshold=0.6,
            diagnostics_rate=5.0,
            **tiny_files,
        )
    seconds = iter(range(1, 10**6))

    def each_has_people() -> bool:
        peer.show(ONE, (next(seconds), 0))
        peer.spin(0.2)
        return all(any(m.people for m in people[s]) and mesh[s] for s in 'ab') and {'a', 'b'} <= {
            name.partition('/')[0] for name in names(tf)
        }

    assert peer.images and peer.until(each_has_people, 60.0)
    ids = {space: {person.id for m in people[space] for person in m.people} for space in 'ab'}
    assert ids['a'] & ids['b']  # in one namespace these would collide
    for space in 'ab':
        roots = {name for name in names(tf) if name.startswith(space) and name.count('/') == 1}
        assert roots <= {f'{space}/smpl_{n}' for n in ids[space]}
        markers = [marker for message in mesh[space] for marker in message.markers]
        assert {marker.ns for marker in markers} == {'smpl_mesh'}  # as ever: RViz keeps displays apart
        assert {marker.id for marker in markers} <= ids[space]
    end = time.monotonic() + 3.0  # each looks at the other's frames meanwhile
    assert peer.until(lambda: each_has_people() and time.monotonic() > end)
    assert 'one parent' not in messages_of(diagnostics)


def test_a_frame_of_ours_that_somebody_else_publishes_is_said(start, peer, tiny_files):
    tf, diagnostics = peer.listen(TFMessage, '/tf'), peer.listen(DiagnosticArray, '/diagnostics')
    others = Peer()
    broadcaster = others.node.create_publisher(TFMessage, '/tf', 100)
    start('cliff_ros.ros.node', autostart='true', score_threshold=0.6, diagnostics_rate=5.0, **tiny_files)
    seconds = iter(range(1, 10**6))

    def go_on(*frames: str) -> None:
        peer.show(ONE, (next(seconds), 0))
        for frame in frames:
            broadcaster.publish(foreign(frame))
        peer.spin(0.1)

    assert peer.images and peer.until(lambda: go_on('odom') or 'smpl_' in ' '.join(names(tf)), 60.0)
    end = time.monotonic() + 3.0
    assert peer.until(lambda: go_on('odom', 'robot/smpl_7/head', 'smpl_999') or time.monotonic() > end)
    assert 'one parent' not in messages_of(diagnostics)  # neither our own messages nor names like ours
    ours = {
        t.child_frame_id
        for m in tf
        for t in m.transforms
        if t.header.frame_id == FRAME and t.child_frame_id.startswith('smpl_')
    }
    (name, *_) = sorted(ours)
    assert peer.until(lambda: go_on(name) or 'one parent' in messages_of(diagnostics))
    said = messages_of(diagnostics)
    assert f"publishes the frame '{name}' on /tf too, below 'other_camera'" in said and 'tf_prefix' in said
    others.close()


def test_watching_is_no_listening_and_the_executor_has_no_part_in_it(cliff, peer):
    """Nobody listens to /tf: nothing is made for it, though others publish there; and none of theirs is executed."""
    node = cliff()
    broadcaster = peer.node.create_publisher(TFMessage, '/tf', 100)
    peer.bring_up()
    transforms = next(output for output in node.outputs if output.topic == '/tf')
    frames = transforms.frames
    assert peer.until(lambda: frames.listeners == 1)
    assert peer.until(lambda: broadcaster.get_subscription_count() == 1)
    people = peer.listen(SmplArray, '/cliff/people')
    assert peer.until(lambda: peer.show(ONE, (1, 0)) or peer.spin(0.2) or people)
    assert not transforms.wanted() and not frames._ours
    watched = next(s for s in node.subscriptions if s.topic_name == '/tf')
    assert not node.executor.can_execute(watched)
    tf = peer.listen(TFMessage, '/tf')
    assert peer.until(lambda: peer.show(ONE, (2, 0)) or peer.spin(0.2) or 'smpl_' in ' '.join(names(tf)))
    peer.node.destroy_publisher(broadcaster)
    assert peer.until(lambda: frames.listeners == 0)  # alone on /tf: nothing to watch
    assert peer.change('deactivate') and peer.change('cleanup')
    assert not [s for s in node.subscriptions if s.topic_name == '/tf']
