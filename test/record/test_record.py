"""Recordings, each read back by a program that had no part in writing it, and compared with what was recorded."""

from __future__ import annotations

import json
import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest

from cliff_ros.body import load_body
from cliff_ros.errors import MissingExtra
from cliff_ros.record import UP_FROM_OPTICAL, Recorders, Take
from cliff_ros.render.overlay import draw_people
from cliff_ros.synthetic import Sequence

FPS, FRAMES, START = 10.0, 6, 1_795_710_833_123_456_789
WIDTH, HEIGHT = 320, 180


@pytest.fixture(scope='module')
def body():
    return load_body()


@pytest.fixture(scope='module')
def takes(body):
    """Two people; the second comes in the third image, and both have the shape of their first."""
    scene = Sequence(seed=4, width=WIDTH, height=HEIGHT, fps=FPS, seconds=FRAMES / FPS, people=2)
    found = []
    for i in range(FRAMES):
        people, image = scene.truth(i)[: 1 if i < 2 else 2], scene.image(i)
        picture = draw_people(image, people, scene.camera, body.faces)
        found.append(Take(START + round(i * 1e9 / FPS), scene.camera, people, image, picture))
    return found


@pytest.fixture(scope='module')
def record(takes, body, tmp_path_factory):
    """``record(format)``: the files that were written, one recording for all tests."""
    kept = {}

    def run(name: str) -> list:
        if name not in kept:
            recorders = Recorders([name], tmp_path_factory.mktemp(name), body, FPS, 'faces')
            for take in takes:
                recorders.add(take)
            unwritten: list = []
            kept[name] = recorders.close(unwritten)
            assert not unwritten and all(path.stat().st_size for path in kept[name])
        return kept[name]

    return run


# ---- MCAP


@pytest.fixture(scope='module')
def messages(record):
    """Topic -> [(log time, message)], by Foxglove's own reader."""
    pytest.importorskip('rosbags', reason="needs the extra 'record'")
    factory = pytest.importorskip('mcap_ros2.decoder', reason='needs mcap-ros2-support').DecoderFactory
    from mcap.reader import make_reader

    (path,) = record('mcap')
    found: dict[str, list] = {}
    with open(path, 'rb') as file:
        for _, channel, message, decoded in make_reader(file, decoder_factories=[factory()]).iter_decoded_messages():
            found.setdefault(channel.topic, []).append((message.log_time, decoded))
    return found


def test_mcap_has_every_message_at_the_stamp_of_its_image(messages, takes):
    stamps = [take.stamp for take in takes]
    for topic in ('/cliff/people', '/camera/camera_info', '/camera/image_raw/compressed', '/cliff/overlay/compressed'):
        assert [time for time, _ in messages[topic]] == stamps
        assert [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for _, m in messages[topic]] == stamps
        assert all(m.header.frame_id == takes[0].frame_id for _, m in messages[topic])
    assert [len(m.people) for _, m in messages['/cliff/people']] == [len(take.people) for take in takes]
    assert len(messages['/cliff/body']) == 1


def test_mcap_people_camera_and_pictures_are_those_that_were_recorded(messages, takes, body):
    for (_, message), take in zip(messages['/cliff/people'], takes, strict=True):
        for smpl, person in zip(message.people, take.people, strict=True):
            joints = [(p.x, p.y, p.z) for p in smpl.joints]
            np.testing.assert_allclose(joints, person.joints, atol=1e-6)
            np.testing.assert_allclose(smpl.betas, person.betas, atol=1e-6)
            np.testing.assert_allclose(smpl.joints2d, np.ravel(person.joints2d), atol=1e-3)
            assert smpl.id == person.id
            assert _angle(_matrix(smpl.rotations[5]), person.rotations[5]) < 1e-5
    info = messages['/camera/camera_info'][0][1]
    np.testing.assert_allclose(info.k, takes[0].camera.K.ravel())
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    for topic, name in (('/cliff/overlay/compressed', 'picture'), ('/camera/image_raw/compressed', 'image')):
        data = np.frombuffer(bytes(messages[topic][3][1].data), np.uint8)
        shown = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(shown.astype(float) - getattr(takes[3], name)).mean() < 5
    about = messages['/cliff/body'][0][1]
    assert about.body_sha256 == body.sha256 and len(about.faces) == body.faces.size
    assert bytes(about.body_npz)  # the embedded body may be passed on


def test_mcap_frames_lead_to_the_joints_and_markers_show_them(messages, takes):
    last = takes[-1]
    tree = {t.child_frame_id: t for t in messages['/tf'][-1][1].transforms}
    for person in last.people:
        for joint, name in ((0, ''), (20, '/left_wrist'), (11, '/right_foot')):
            frame, point = f'smpl_{person.id}{name}', np.zeros(3)
            while frame != last.frame_id:
                transform = tree[frame].transform
                turn, move = transform.rotation, transform.translation
                point = _matrix(turn) @ point + (move.x, move.y, move.z)
                frame = tree[frame].header.frame_id
            np.testing.assert_allclose(point, person.joints[joint], atol=1e-5)
    marker = messages['/cliff/skeleton'][-1][1].markers[0]
    ends = np.array([(p.x, p.y, p.z) for p in marker.points])
    person = next(p for p in last.people if p.id == marker.id)
    distance = np.linalg.norm(ends[:, None] - person.joints[None], axis=-1).min(1)
    assert len(ends) == 46 and distance.max() < 1e-5


def test_mcap_says_what_is_covered(record, messages):
    (path,) = record('mcap')
    assert 'privacy: faces' in (path.parent / 'metadata.yaml').read_text()


# ---- glTF


def _glb(path) -> tuple[dict, bytes]:
    """The two chunks of a binary glTF (specification 2.0, 4.4)."""
    content = path.read_bytes()
    magic, version, length = struct.unpack_from('<4sII', content)
    assert magic == b'glTF' and version == 2 and length == len(content)
    size, kind = struct.unpack_from('<I4s', content, 12)
    assert kind == b'JSON'
    return json.loads(content[20 : 20 + size]), content[20 + size + 8 :]


def _array(gltf: dict, blob: bytes, index: int) -> np.ndarray:
    accessor = gltf['accessors'][index]
    view = gltf['bufferViews'][accessor['bufferView']]
    dtype = {5126: np.float32, 5125: np.uint32, 5123: np.uint16}[accessor['componentType']]
    width = {'SCALAR': 1, 'VEC3': 3, 'VEC4': 4, 'MAT4': 16}[accessor['type']]
    return np.frombuffer(blob, dtype, accessor['count'] * width, view.get('byteOffset', 0)).reshape(-1, width)


@pytest.fixture(scope='module')
def glb(record):
    pytest.importorskip('pygltflib', reason="needs the extra 'record'")
    (path,) = record('glb')
    return path, *_glb(path)


def test_glb_moves_like_the_people(glb, takes, body):
    """Skinned by hand from the file's bytes, as any player does it; compared with SMPL."""
    _, gltf, blob = glb
    names = [node.get('name') for node in gltf['nodes']]
    (animation,) = gltf['animations']
    channels = {
        (c['target']['node'], c['target']['path']): animation['samplers'][c['sampler']] for c in animation['channels']
    }
    for number, person in enumerate(takes[-1].people):
        nodes = [dict(node) for node in gltf['nodes']]
        for (node, path), sampler in channels.items():
            assert (np.diff(_array(gltf, blob, sampler['input'])[:, 0]) > 0).all()
            nodes[node][path] = _array(gltf, blob, sampler['output'])[-1]
        parents = {child: i for i, node in enumerate(nodes) for child in node.get('children', ())}

        def world(index: int, nodes=nodes, parents=parents) -> np.ndarray:
            node, matrix = nodes[index], np.eye(4)
            matrix[:3, :3] = _matrix(node.get('rotation', (0, 0, 0, 1))) * np.asarray(node.get('scale', (1, 1, 1)))
            matrix[:3, 3] = node.get('translation', (0, 0, 0))
            return world(parents[index]) @ matrix if index in parents else matrix

        mesh = next(node for node in nodes if node.get('name') == f'mesh_{person.id}')
        assert f'person_{person.id}' in names
        skin = gltf['skins'][mesh['skin']]
        inverse = _array(gltf, blob, skin['inverseBindMatrices']).reshape(-1, 4, 4).transpose(0, 2, 1)
        bones = np.stack([world(j) for j in skin['joints']]) @ inverse
        attributes = gltf['meshes'][mesh['mesh']]['primitives'][0]['attributes']
        rest, joints, weights = (_array(gltf, blob, attributes[name]) for name in ('POSITION', 'JOINTS_0', 'WEIGHTS_0'))
        at = np.column_stack([rest, np.ones(len(rest))])
        blend = np.einsum('vk,vkij->vij', weights, bones[joints])
        drawn = np.einsum('vij,vj->vi', blend, at)[:, :3]
        _, expected = body(person.betas[None], person.rotations[None], person.translation[None])
        np.testing.assert_allclose(drawn, expected[0] @ UP_FROM_OPTICAL.T, atol=2e-3)
        assert number < 2


def test_glb_hides_who_is_not_there(glb, takes):
    _, gltf, blob = glb
    late = next(p.id for p in takes[-1].people if p.id not in {q.id for q in takes[0].people})
    node = next(i for i, node in enumerate(gltf['nodes']) if node['name'] == f'person_{late}')
    (animation,) = gltf['animations']
    (channel,) = [c for c in animation['channels'] if c['target'] == {'node': node, 'path': 'scale'}]
    sampler = animation['samplers'][channel['sampler']]
    assert sampler['interpolation'] == 'STEP'
    np.testing.assert_allclose(_array(gltf, blob, sampler['input'])[:, 0], [0, 0.2], atol=1e-6)
    np.testing.assert_array_equal(_array(gltf, blob, sampler['output']), [[0] * 3, [1] * 3])


def test_glb_opens_in_another_library(glb, body):
    trimesh = pytest.importorskip('trimesh', reason='needs trimesh')
    scene = trimesh.load(glb[0])
    meshes = list(scene.geometry.values())
    assert len(meshes) == 2
    assert all(mesh.vertices.shape == (body.num_vertices, 3) and len(mesh.faces) == len(body.faces) for mesh in meshes)
    assert scene.metadata.get('privacy', glb[1]['asset']['extras']['privacy']) == 'faces'


# ---- BVH and OBJ


def test_bvh_poses_the_joints_where_they_were(record, takes, body):
    bvhio = pytest.importorskip('bvhio', reason='needs bvhio')
    paths = {path.stem: path for path in record('bvh')}
    person = takes[-1].people[0]
    root = bvhio.readAsHierarchy(str(paths[f'person_{person.id}']))
    root.loadPose(FRAMES - 1, recursive=True)
    found = {joint.Name: np.array(joint.PositionWorld) / 100 for joint, _, _ in root.layout()}
    expected = person.joints @ UP_FROM_OPTICAL.T
    for name, joint in zip(body.joint_names, expected, strict=True):
        np.testing.assert_allclose(found[name], joint, atol=2e-3, err_msg=name)
    text = paths[f'person_{takes[-1].people[1].id}'].read_text()  # came in the third image
    assert f'Frames: {FRAMES - 2}\n' in text and f'Frame Time: {1 / FPS:.7f}' in text


def test_obj_shows_the_image_with_most_people(record, takes, body):
    trimesh = pytest.importorskip('trimesh', reason='needs trimesh')
    (path,) = record('obj')
    scene = trimesh.load(path, split_objects=True, process=False, force='scene')
    people = takes[2].people
    assert len(scene.geometry) == len(people) == 2
    both = trimesh.load(path, process=False, force='mesh').vertices
    for person, mesh in zip(people, np.split(np.asarray(both), 2), strict=True):
        _, expected = body(person.betas[None], person.rotations[None], person.translation[None])
        np.testing.assert_allclose(mesh, expected[0] @ UP_FROM_OPTICAL.T, atol=1e-4)


# ---- rerun, and what is missing


def test_rrd_is_verified_by_rerun(record, takes):
    pytest.importorskip('rerun', reason="needs the extra 'rerun'")
    (path,) = record('rrd')
    for words in (['verify'], ['print']):
        done = subprocess.run(
            [sys.executable, '-m', 'rerun', 'rrd', *words, str(path)], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
    assert all(f'/people/{person.id}/skeleton' in done.stdout for person in takes[-1].people)


@pytest.mark.parametrize(
    ('name', 'module', 'extra'),
    [
        ('mcap', 'rosbags', 'record'),
        ('glb', 'pygltflib', 'record'),
        ('html', 'viser', 'view'),
        ('rrd', 'rerun', 'rerun'),
    ],
)
def test_what_is_missing_is_named(name, module, extra, body, tmp_path, monkeypatch):
    for loaded in [one for one in sys.modules if one.partition('.')[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra) as error:
        Recorders(['obj', name], tmp_path, body, FPS)
    assert error.value.extra == extra
    assert Recorders(['obj', name], tmp_path, body, FPS, optional=[name]).missing[0].extra == extra


def test_a_recording_of_nobody_leaves_nothing_behind(body, takes, tmp_path):
    recorders = Recorders(['glb', 'bvh', 'obj'], tmp_path, body, FPS)
    recorders.add(Take(START, takes[0].camera, []))
    assert recorders.close([]) == [] and not list(tmp_path.iterdir())


def _matrix(quaternion) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    q = quaternion
    return Rotation.from_quat((q.x, q.y, q.z, q.w) if hasattr(q, 'x') else np.asarray(q, float)).as_matrix()


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())
