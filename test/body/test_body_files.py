"""Official body files: their layout read without chumpy or scipy, anything harmful refused by name."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import types

import numpy as np
import pytest

from cliff_ros import assets, cli
from cliff_ros.body import load_body
from cliff_ros.body.files import ARRAYS, read_body, read_h36m_regressor, save_npz
from cliff_ros.body.names import PARENTS
from cliff_ros.errors import ModelError

sparse = pytest.importorskip('scipy.sparse', reason='makes the official layout')


def make_body(vertices=60, betas=10, joints=24, seed=0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    regressor = rng.random((joints, vertices))
    regressor[regressor < 0.8] = 0
    regressor[:, 0] += 0.1
    weights = rng.random((vertices, joints)) ** 8
    parents = PARENTS.copy()
    if joints == 55:
        hand = [-1, 0, 1, -1, 3, 4, -1, 6, 7, -1, 9, 10, -1, 12, 13]
        left, right = ([wrist if p < 0 else p + first for p in hand] for first, wrist in ((25, 20), (40, 21)))
        parents = np.array([*PARENTS[:22], 15, 15, 15, *left, *right])
    return {
        'v_template': rng.normal(size=(vertices, 3)),
        'shapedirs': rng.normal(size=(vertices, 3, betas)) * 0.05,
        'posedirs': rng.normal(size=(vertices, 3, 9 * (joints - 1))) * 0.01,
        'weights': weights / weights.sum(1, keepdims=True),
        'J_regressor': regressor / regressor.sum(1, keepdims=True),
        'kintree_table': np.stack([parents.astype(np.uint32), np.arange(joints, dtype=np.uint32)]),
        'f': rng.integers(0, vertices, (90, 3)).astype(np.uint32),
    }


@pytest.fixture
def chumpy(monkeypatch):
    """Modules of chumpy's names and shape, there only while a file is being made."""
    names = 'chumpy', 'chumpy.ch', 'chumpy.reordering', 'chumpy.ch_ops'
    modules = {name: types.ModuleType(name) for name in names}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)

    class Ch:
        def __init__(self, **state):
            self.__dict__.update(state)

    def node(module, name):
        kind = type(name, (Ch,), {'__module__': module, '__qualname__': name})
        setattr(modules[module], name, kind)
        return kind

    return types.SimpleNamespace(
        Ch=node('chumpy.ch', 'Ch'), Select=node('chumpy.reordering', 'Select'), add=node('chumpy.ch_ops', 'add')
    )


class Python2Pickler(pickle._Pickler):
    """Writes byte strings as Python 2 did, and the module names of the libraries of that time."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        self.write(b'T' + struct.pack('<i', len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_string

    @classmethod
    def dumps(cls, value) -> bytes:
        file = io.BytesIO()
        cls(file, protocol=2).dump(value)
        return (
            file.getvalue()
            .replace(b'cnumpy._core.', b'cnumpy.core.')
            .replace(b'cscipy.sparse._csc\n', b'cscipy.sparse.csc\n')
        )


def official(arrays, chumpy) -> dict:
    """As in SMPL's files: the regressor sparse, learned arrays as chumpy variables, things nobody needs."""
    rest = {'_dirty_vars': set(), '_itr': None, 'terms': ['x']}
    return {
        **arrays,
        'J_regressor': sparse.csc_matrix(arrays['J_regressor']),
        'J_regressor_prior': sparse.csc_matrix(arrays['J_regressor']),
        'shapedirs': chumpy.Ch(x=arrays['shapedirs'], **rest),
        'weights': chumpy.Ch(x=arrays['weights'], **rest),
        'v_posed': chumpy.add(a=chumpy.Ch(x=arrays['v_template']), b=chumpy.Ch(x=np.zeros(3))),
        'bs_style': 'lbs',
        'bs_type': 'lrotmin',
    }


def assert_same(got, want):
    for key in ARRAYS:
        np.testing.assert_allclose(got[key], want[key], atol=1e-12, err_msg=key)


DUMPS = {
    'python 2': Python2Pickler.dumps,
    **{f'protocol {p}': lambda value, p=p: pickle.dumps(value, protocol=p) for p in range(6)},
}


@pytest.mark.parametrize('dumps', DUMPS.values(), ids=DUMPS)
@pytest.mark.parametrize('betas', [10, 300])
def test_official_pickle(tmp_path, chumpy, monkeypatch, dumps, betas):
    arrays = make_body(betas=betas)
    path = tmp_path / 'SMPL_NEUTRAL.pkl'
    path.write_bytes(dumps(official(arrays, chumpy)))
    monkeypatch.undo()
    assert 'chumpy' not in sys.modules
    assert_same(read_body(path), arrays)
    assert load_body(path).num_betas == betas


def test_selection_and_row_sparse(tmp_path, chumpy):
    arrays = make_body(betas=20)
    first10 = np.arange(arrays['shapedirs'].size).reshape(arrays['shapedirs'].shape)[:, :, :10]
    source = chumpy.Ch(x=arrays['shapedirs'])
    content = official(arrays, chumpy) | {
        'shapedirs': chumpy.Select(a=source, idxs=first10.ravel(), preferred_shape=first10.shape),
        'J_regressor': sparse.csr_matrix(arrays['J_regressor']),
    }
    path = tmp_path / 'body.pkl'
    path.write_bytes(pickle.dumps(content, protocol=2))
    assert_same(read_body(path), arrays | {'shapedirs': arrays['shapedirs'][:, :, :10]})


def test_a_formula_where_numbers_are_needed_is_refused_by_name(tmp_path, chumpy):
    path = tmp_path / 'body.pkl'
    content = official(make_body(), chumpy) | {'v_template': chumpy.add(a=1, b=2)}
    path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(ModelError, match="chumpy.ch_ops.add.*'v_template'"):
        read_body(path)


@pytest.mark.parametrize('num_betas', [10, 300])
def test_smplx_reads_the_official_layout_the_same(tmp_path, chumpy, num_betas):
    """The reference implementation on the very file, chumpy-shaped objects, pose correctives and all."""
    smplx = pytest.importorskip('smplx')
    torch = pytest.importorskip('torch')
    rng = np.random.default_rng(1)
    with np.load(assets.BODY) as file:
        arrays = {key: file[key] for key in ARRAYS}
    shape = arrays['v_template'].shape
    arrays['posedirs'] = rng.normal(0, 1e-3, (*shape, 207))
    if num_betas > 10:
        more = rng.normal(0, 1e-3, (*shape, num_betas - 10))
        arrays['shapedirs'] = np.concatenate([arrays['shapedirs'], more], axis=2)
    kind = chumpy.Ch
    kind.__array__ = lambda self, dtype=None, copy=None: np.asarray(self.x, dtype)
    kind.shape = property(lambda self: self.x.shape)
    kind.__getitem__ = lambda self, index: self.x[index]
    path = tmp_path / 'SMPL_NEUTRAL.pkl'
    path.write_bytes(Python2Pickler.dumps(official(arrays, chumpy)))
    betas, pose = rng.normal(size=(2, num_betas)), rng.normal(size=(2, 72)) * 0.4
    reference = smplx.SMPL(str(path), batch_size=2, num_betas=num_betas)
    axes = torch.tensor(pose, dtype=torch.float32)
    with torch.no_grad():
        want = reference(betas=torch.tensor(betas).float(), global_orient=axes[:, :3], body_pose=axes[:, 3:])
    rotations = smplx.lbs.batch_rodrigues(axes.reshape(-1, 3)).reshape(2, 24, 3, 3).numpy()
    body = load_body(path)
    assert body.num_betas == num_betas and body.posedirs is not None
    joints, vertices = body(betas, rotations, np.zeros((2, 3)))
    np.testing.assert_allclose(joints, want.joints[:, :24].numpy(), atol=1e-5)
    np.testing.assert_allclose(vertices, want.vertices.numpy(), atol=1e-5)


@pytest.mark.parametrize('columns', [(20, 10), (400, 300), (16, 16)])
def test_smplx_body_folds_exactly(tmp_path, columns):
    """SMPL-X with flat hands and a neutral face, by the reference's skinning, against our 24 joints."""
    lbs = pytest.importorskip('smplx.lbs')
    torch = pytest.importorskip('torch')
    arrays = make_body(betas=columns[0], joints=55)
    path = tmp_path / 'SMPLX_NEUTRAL.npz'
    save_npz(path, arrays | {'hands_meanl': np.zeros(45)})
    body = load_body(path)
    assert body.num_betas == columns[1]
    rng = np.random.default_rng(2)
    betas = rng.normal(size=(3, 10))
    pose = np.zeros((3, 55, 3))
    pose[:, :22] = rng.normal(size=(3, 22, 3)) * 0.5
    tensors = {key: torch.tensor(arrays[key]) for key in ('v_template', 'J_regressor', 'weights')}
    rotations = lbs.batch_rodrigues(torch.tensor(pose).reshape(-1, 3)).reshape(3, 55, 3, 3)
    parents = torch.tensor(arrays['kintree_table'][0].astype(np.int64))
    posedirs = torch.tensor(arrays['posedirs'].reshape(-1, 54 * 9).T.copy())
    shapedirs = torch.tensor(arrays['shapedirs'][:, :, :10])
    vertices, joints = lbs.lbs(
        torch.tensor(betas),
        rotations,
        tensors['v_template'],
        shapedirs,
        posedirs,
        tensors['J_regressor'],
        parents,
        tensors['weights'],
        pose2rot=False,
    )
    ours = np.broadcast_to(np.eye(3), (3, 24, 3, 3)).copy()
    ours[:, :22] = rotations[:, :22]
    got_joints, got_vertices = body(betas, ours, np.zeros((3, 3)))
    np.testing.assert_allclose(got_vertices, vertices, atol=1e-5)
    np.testing.assert_allclose(got_joints, joints[:, [*range(22), 28, 43]], atol=1e-5)


def test_npz_and_convert_command(tmp_path, chumpy, capsys):
    arrays = make_body()
    source, target = tmp_path / 'body.pkl', tmp_path / 'made' / 'body.npz'
    regressor = tmp_path / 'J_regressor_h36m.npy'
    source.write_bytes(Python2Pickler.dumps(official(arrays, chumpy)))
    np.save(regressor, np.full((17, 60), 1 / 60))
    assert cli.main(['convert', str(source), str(target), '--h36m', str(regressor)]) == 0
    assert '60 vertices, 10 betas' in capsys.readouterr().out
    got = read_body(target)
    assert_same(got, arrays)
    assert got['J_regressor_h36m'].shape == (17, 60)
    body = load_body(target)
    _, vertices = body(np.zeros((2, 10)), np.tile(np.eye(3), (2, 24, 1, 1)), np.zeros((2, 3)))
    joints = body.J_regressor_h36m @ vertices  # all 17 are the mean vertex here
    np.testing.assert_allclose(joints, np.tile(vertices.mean(1, keepdims=True), (1, 17, 1)), atol=1e-5)
    assert load_body(source).J_regressor_h36m is None
    np.save(regressor, np.zeros((14, 60)))
    assert cli.main(['convert', str(source), str(target), '--h36m', str(regressor)]) == 2
    assert '(17, 60)' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'weights': None}, "no array 'weights'"),
        ({'shapedirs': np.zeros((60, 3))}, "'shapedirs' of shape"),
        ({'f': np.full((4, 3), 60)}, 'vertices that do not exist'),
        ({'kintree_table': np.zeros((2, 24), int)}, 'tree of joints'),
        ({'kintree_table': np.zeros((2, 52), int)}, '52 joints'),
        ({'v_template': np.array([None] * 60)}, '[Oo]bject'),
    ],
)
@pytest.mark.parametrize('kind', ['pkl', 'npz'])
def test_other_bodies_are_refused_in_a_sentence(tmp_path, kind, change, words):
    arrays = {key: value for key, value in (make_body() | change).items() if value is not None}
    path = tmp_path / f'body.{kind}'
    if kind == 'npz':
        np.savez(path, **arrays)
    else:
        path.write_bytes(pickle.dumps(arrays))
    with pytest.raises(ModelError, match=words) as caught:
        read_body(path)
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('content', [b'', b'not a pickle', b'PK\x03\x04', pickle.dumps([1, 2]), pickle.dumps({})])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / 'body.pkl'
    path.write_bytes(content)
    with pytest.raises(ModelError, match='body.pkl'):
        read_body(path)


def test_half_a_file_is_refused(tmp_path):
    for name, whole in (('body.pkl', pickle.dumps(make_body())), ('body.npz', None)):
        path = tmp_path / name
        if whole is None:
            save_npz(path, make_body())
            whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ModelError, match='damaged'):
            read_body(path)


class Evil:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize('protocol', range(6))
def test_malicious_pickle_runs_nothing_and_is_refused_by_name(tmp_path, protocol):
    marker = tmp_path / 'was_here'
    path = tmp_path / 'body.pkl'
    for evil in (
        Evil(os.system, f'touch {marker}'),
        Evil(eval, f'open({str(marker)!r}, "w")'),
        Evil(open, str(marker), 'w'),
        Evil(np.savetxt, str(marker), [1.0]),
    ):
        path.write_bytes(pickle.dumps(make_body() | {'extra': evil}, protocol=protocol))
        name = evil.call.__name__
        with pytest.raises(ModelError, match=f"wants to call '[a-z_.]*{name}'.*refused"):
            read_body(path)
        assert not marker.exists()


def test_malicious_objects_in_npz_and_npy_run_nothing_and_are_refused_by_name(tmp_path):
    marker = tmp_path / 'was_here'
    evil = np.array([Evil(os.system, f'touch {marker}')], dtype=object)
    path = tmp_path / 'body.npz'
    for key in ('v_template', 'f', 'gender'):
        np.savez(path, **make_body() | {key: evil})
        with pytest.raises(ModelError, match=f"more than numbers in its array '{key}'.*nothing of it was run"):
            load_body(path)
    np.savez(path, **make_body(), part2num=evil)  # SMPL-X's files have such arrays, which nobody needs
    assert load_body(path).num_vertices == 60
    np.save(tmp_path / 'regressor.npy', evil, allow_pickle=True)
    with pytest.raises(ModelError, match='regressor.npy'):
        read_h36m_regressor(tmp_path / 'regressor.npy', 60)
    assert not marker.exists()


@pytest.mark.parametrize(
    ('module', 'name'),
    [
        ('builtins', 'getattr'),
        ('builtins', 'exec'),
        ('builtins', '__import__'),
        ('numpy', 'load'),
        ('numpy.core.multiarray', 'fromfile'),
        ('numpy.lib.npyio', 'load'),
        ('scipy.sparse', 'load_npz'),
        ('copyreg', 'add_extension'),
        ('_codecs', 'lookup'),
        ('importlib', 'import_module'),
        ('chumpyx', 'Ch'),
        ('numpy', 'f2py.os.system'),
        ('builtins', 'object.__subclasses__'),
    ],
)
def test_only_the_list_is_allowed(tmp_path, module, name):
    path = tmp_path / 'body.pkl'
    path.write_bytes(
        b'\x80\x04' + b''.join(b'\x8c' + bytes([len(word)]) + word.encode() for word in (module, name)) + b'\x93.'
    )
    with pytest.raises(ModelError, match=f"wants to call '{module}.{name}'"):
        read_body(path)
    path.write_bytes(f'c{module}\n{name}\n.'.encode())
    with pytest.raises(ModelError, match='wants to call'):
        read_body(path)


def test_only_latin1_decodes(tmp_path):
    path = tmp_path / 'body.pkl'
    path.write_bytes(b'c_codecs\nencode\n(Vx\nVrot13\ntR.')
    with pytest.raises(ModelError, match='rot13'):
        read_body(path)


def global_(name: str) -> bytes:
    module, _, name = name.rpartition('.')
    return f'c{module}\n{name}\n'.encode()


DTYPE = global_('numpy.dtype') + b'(X\x02\x00\x00\x00f8K\x00K\x01tR'  # numpy.dtype('f8', 0, 1)
STATE = b'(K\x03X\x01\x00\x00\x00<NNNJ%sJ%sK\x00tb'  # (3, '<', None, None, None, item size, alignment, 0)
HUGE = struct.pack('<i', 1 << 30)
ARRAY = global_('numpy.core.multiarray._reconstruct') + global_('numpy.ndarray') + b'(K\x00tC\x01btR'


def array_of(dtype: bytes, raw: bytes = b'C\x08' + bytes(8)) -> bytes:
    """One number, of that type."""
    return ARRAY + b'(K\x01(K\x01t' + dtype + b'I00\n' + raw + b'tb'


ATTACKS = {
    "an item size that is not the type's": array_of(DTYPE + STATE % (HUGE, HUGE)),
    'fields and an item size': array_of(
        DTYPE
        + b'(K\x03X\x01\x00\x00\x00|N(X\x01\x00\x00\x00at}X\x01\x00\x00\x00a('
        + DTYPE
        + b'J'
        + HUGE
        + b'tsJ'
        + HUGE
        + b'K\x01K\x00tb'
    ),
    'the type object itself takes state': array_of(global_('numpy.dtype') + STATE % (HUGE, HUGE)),
    'a void type': array_of(DTYPE.replace(b'f8', b'V8')),
    'an object type': array_of(DTYPE.replace(b'f8', b'O8')),
    'fewer bytes than numbers': array_of(DTYPE, b'C\x04' + bytes(4)),
    'no bytes': array_of(DTYPE, b'N'),
    'an object in the place of the bytes': array_of(DTYPE, DTYPE),
    'state of a function': array_of(DTYPE) + b'0' + global_('numpy.core.multiarray.scalar') + b'}X\x0c\x00\x00\x00'
    b'__defaults__(tsb',
    'a billion zero bytes': global_('builtins.bytearray') + b'(J' + HUGE + b'tR',
    'a place in the memo far away': b'Nr\xff\xff\xff\x7f',
    'a tuple in a tuple in a tuple as a key': b'})' + b'\x85' * 200_000 + b'Ns',
    'a list in a list in a list': b'(' * 100_000 + b'l' * 100_000,
    'a dense matrix of a petabyte': (
        global_('scipy.sparse.csc_matrix')
        + b')\x81}(X\x04\x00\x00\x00data'
        + array_of(DTYPE)
        + b'X\x07\x00\x00\x00indices'
        + array_of(DTYPE)
        + b'X\x06\x00\x00\x00indptr'
        + array_of(DTYPE)
        + b'X\x06\x00\x00\x00_shape(J'
        + HUGE
        + b'J'
        + HUGE
        + b'tub'
    ),
    'a chumpy formula of itself': global_('chumpy.ch.Ch') + b')\x81q\x01}X\x01\x00\x00\x00xh\x01sb',
}


@pytest.mark.parametrize('attack', ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize('key', ['v_template', 'extra'])
def test_hostile_pickles_harm_nothing(tmp_path, attack, key):
    """In a process of its own with a limit on memory: these crashed Python, or would fill the machine."""
    content = pickle.dumps(make_body(), protocol=2)[:-1]  # without its end
    path = tmp_path / 'body.pkl'
    path.write_bytes(content + b'X' + struct.pack('<I', len(key)) + key.encode() + attack + b's.')
    script = f"""
import resource
from cliff_ros.body import load_body
from cliff_ros.errors import ModelError
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
try:
    print('read', load_body({str(path)!r}).v_template.sum())
except ModelError as error:
    print('refused', error)
"""
    run = subprocess.run([sys.executable, '-W', 'ignore', '-c', script], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.startswith('refused') or (key == 'extra' and run.stdout.startswith('read'))


MUTATIONS = 3000
MUTATE = """
import pickletools, random, sys
from pathlib import Path
from cliff_ros.body.files import parse_body
from cliff_ros.errors import ModelError
folder, count = Path(sys.argv[1]), int(sys.argv[2])
seeds = [path.read_bytes() for path in sorted(folder.glob('*.seed'))]
opcodes = bytes(ord(opcode.code) for opcode in pickletools.opcodes)
lengths = [bytes.fromhex(number) for number in ('ffffff7f', '00000000', '00000080', 'ffffffff')]
random.seed(7)
path, refused = folder / 'mutated.pkl', 0
for _ in range(count):
    data = bytearray(random.choice(seeds))
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(data))
        end, new = random.choice([(at + 1, bytes([random.randrange(256)])),
                                  (at + 1, bytes([random.choice(opcodes)])),
                                  (at, bytes(random.choices(opcodes, k=3))),
                                  (at + random.randint(1, 20), b''),
                                  (at + 4, random.choice(lengths))])
        data[at:end] = new
    path.write_bytes(data)
    try:
        parse_body(path)
    except ModelError:
        refused += 1
print(refused)
"""


def test_mutated_pickles_are_read_or_refused(tmp_path, chumpy):
    """Nothing but ModelError leaves the reader, whatever byte is wrong; in a process of its own, which must survive."""
    for i, dumps in enumerate(DUMPS.values()):
        (tmp_path / f'{i}.seed').write_bytes(dumps(official(make_body(vertices=4, betas=2), chumpy)))
    run = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', MUTATE, str(tmp_path), str(MUTATIONS)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert int(run.stdout) > MUTATIONS // 3
