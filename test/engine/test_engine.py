"""Engines: selection, refusals, and the real ONNX Runtime on a tiny graph of the real form."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cliff_ros.body import load_body
from cliff_ros.crop.views import CropSpec
from cliff_ros.engine import cache, cudart, load_engine
from cliff_ros.errors import EngineError, InputError, MissingExtra, ModelError
from cliff_ros.graph import metadata as graph
from cliff_ros.graph.metadata import OUTPUTS, GraphMetadata
from cliff_ros.graph.onnx_file import OnnxFile

onnx = pytest.importorskip('onnx', reason='the tiny graphs of these tests are built with onnx')
from graphs import FLOAT, runtime_graph, save, tensor
from onnx import helper

no_tensorrt = pytest.mark.skipif(find_spec('tensorrt') is not None, reason='tensorrt is installed')


@pytest.fixture(scope='module')
def body():
    return load_body()


@pytest.fixture(scope='module')
def path(tmp_path_factory, body):
    return runtime_graph(tmp_path_factory.mktemp('graph') / 'tiny.onnx', body)


def crops_of(people: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(people)
    return (rng.integers(0, 256, (people, 64, 48, 3), np.uint8), np.tile(np.float32([0.1, -0.05, 0.4]), (people, 1)))


@pytest.mark.parametrize('people', [0, 1, 5])
@pytest.mark.parametrize('vertices', [True, False])
def test_outputs_have_the_promised_names_and_shapes(path, people, vertices):
    engine = load_engine(path, 'onnx')
    out = engine(*crops_of(people), vertices=vertices)
    assert set(out) == set(OUTPUTS) - (set() if vertices else {'vertices'})
    shapes = engine.metadata.output_shapes(people)
    for name, value in out.items():
        assert value.shape == shapes[name] and value.dtype == np.float32


def test_values_and_metadata(path, body):
    engine = load_engine(path, 'onnx', threads=1)
    assert (engine.spec.height, engine.spec.width, engine.spec.margin) == (64, 48, 1.1)
    assert engine.metadata.body_sha256 == body.sha256
    assert engine.name.startswith('onnx:') and engine.reason == 'asked for'
    crops, location = crops_of(3)
    out = engine(crops, location)
    np.testing.assert_allclose(out['betas'][:, 0], crops[..., 0].mean((1, 2)) / 255, rtol=1e-5)
    np.testing.assert_allclose(out['translation'][:, 2], 2 / 0.4, rtol=1e-6)
    joints = body.joints(np.zeros((3, 10)), out['rotations'], out['translation'])
    np.testing.assert_allclose(out['joints'], joints, atol=1e-5)


def test_what_only_the_mesh_needs_is_cut_out(path, tmp_path):
    """ONNX Runtime runs nodes whose outputs nobody reads: none may be left, and the rest must be whole."""
    whole, cut = onnx.load(str(path)), onnx.load_from_string(OnnxFile(path).without('vertices'))
    onnx.checker.check_model(cut)
    names = [{node.name or node.output[0] for node in model.graph.node} for model in (whole, cut)]
    assert names[0] - names[1] == {'skin'} and names[1] < names[0]
    weights = [{tensor.name for tensor in model.graph.initializer} for model in (whole, cut)]
    assert weights[0] - weights[1] == {'rest_vertices'}
    assert [output.name for output in cut.graph.output] == [name for name in OUTPUTS if name != 'vertices']
    assert cut.metadata_props == whole.metadata_props and cut.opset_import == whole.opset_import
    crops, location = crops_of(2)
    engine = load_engine(path, 'onnx')
    with_mesh, without = engine(crops, location), engine(crops, location, vertices=False)
    for name, value in without.items():
        np.testing.assert_array_equal(value, with_mesh[name])


def test_names_read_inside_of_branches_are_kept(tmp_path):
    """An If node reads names its inputs do not show."""
    branch = [
        helper.make_graph([helper.make_node(kind, ['inner'], [kind])], kind, [], [tensor(kind, [1])])
        for kind in ('Neg', 'Abs')
    ]
    path = save(
        tmp_path / 'branch.onnx',
        [
            helper.make_node('Exp', ['x'], ['inner']),
            helper.make_node('Log', ['x'], ['unwanted']),
            helper.make_node('If', ['yes'], ['y'], then_branch=branch[0], else_branch=branch[1]),
        ],
        [tensor('x', [1])],
        [tensor('y', [1]), tensor('unwanted', [1])],
        {'yes': np.array([True])},
    )
    cut = onnx.load_from_string(OnnxFile(path).without('unwanted'))
    onnx.checker.check_model(cut)
    assert [node.op_type for node in cut.graph.node] == ['Exp', 'If']


@settings(deadline=None)  # the first call reads the file anew
@given(st.data())
def test_damaged_files_are_refused(path, data):
    """Never a crash, whatever is cut off or changed."""
    content = path.read_bytes()
    start = data.draw(st.integers(0, 3000))
    damaged = data.draw(st.sampled_from([content[:start], content[start:], content[:1] + bytes(start)]))
    copy = path.with_name('damaged.onnx')
    copy.write_bytes(damaged)
    try:
        graph.read_metadata(OnnxFile(copy), copy)
    except ModelError:
        return
    assert damaged == content


@no_tensorrt
def test_auto_says_why(path, caplog):
    caplog.set_level('INFO', 'cliff_ros.engine')
    engine = load_engine(path)
    assert engine.name.startswith('onnx:') and engine.reason == 'tensorrt is not installed'
    assert 'tensorrt is not installed' in caplog.text


@no_tensorrt
def test_missing_tensorrt_names_the_extra(path):
    with pytest.raises(MissingExtra, match=r'cliff_ros\[tensorrt\]'):
        load_engine(path, 'tensorrt')


def test_auto_falls_back_when_tensorrt_does_not_work(path, tmp_path, monkeypatch):
    """As where the package is installed but no driver is: its import fails."""
    (tmp_path / 'tensorrt.py').write_text("raise OSError('libcuda.so.1: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ('tensorrt', 'cliff_ros.engine.tensorrt_engine'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    engine = load_engine(path)
    assert engine.name.startswith('onnx:') and 'libcuda' in engine.reason


def test_refusals_say_what_to_do(path, tmp_path, body):
    with pytest.raises(InputError, match='auto, onnx, tensorrt, torch'):
        load_engine(path, 'gpu')
    with pytest.raises(ModelError, match='does not exist'):
        load_engine(tmp_path / 'nowhere.onnx')
    (tmp_path / 'weights.pt').touch()
    with pytest.raises(ModelError, match='cliff export'):
        load_engine(tmp_path / 'weights.pt')
    (tmp_path / 'noise.onnx').write_bytes(b'\x00\x01 not a graph')
    with pytest.raises(ModelError, match='not an ONNX file'):
        load_engine(tmp_path / 'noise.onnx', 'onnx')
    (tmp_path / 'built.engine').write_bytes(b'{}')
    with pytest.raises(InputError, match='TensorRT engine, which onnx cannot run'):
        load_engine(tmp_path / 'built.engine', 'onnx')
    other = save(
        tmp_path / 'other.onnx',
        [helper.make_node('Identity', ['a'], ['b'])],
        [tensor('a', [1], FLOAT)],
        [tensor('b', [1], FLOAT)],
        {},
    )
    with pytest.raises(ModelError, match='not a cliff_ros runtime graph'):
        load_engine(other, 'onnx')
    with pytest.raises(ModelError, match='format 2'):
        load_engine(runtime_graph(tmp_path / 'newer.onnx', body, format=2), 'onnx')


KEY = cache.EngineKey(
    graph='ab' * 32, tensorrt='10.3.0', gpu='Orin', capability='8.7', precision='fp16', profile='1/4/32'
)
METADATA = GraphMetadata('tiny', CropSpec(64, 48), 'embedded', 'ab' * 32, 30, sha256='cd' * 32)


def test_cached_engines_come_back_for_their_key_alone(tmp_path):
    assert cache.load(KEY, tmp_path) is None
    built = cache.Built(KEY, METADATA, b'plan\nwith lines')
    path = cache.store(built, tmp_path / 'new')
    assert path.parent.stat().st_mode & 0o077 == 0
    assert cache.load(KEY, tmp_path / 'new') == built.plan and cache.read(path) == built
    for change in (
        {'graph': 'cd' * 32},
        {'tensorrt': '10.4.0'},
        {'gpu': 'H100'},
        {'capability': '9.0'},
        {'precision': 'fp32'},
        {'profile': '1/4/8'},
    ):
        assert cache.load(replace(KEY, **change), tmp_path / 'new') is None


def test_stale_and_damaged_engines_are_not_used(tmp_path, caplog):
    plan = bytes(range(256)) * 8
    path = cache.store(cache.Built(KEY, METADATA, plan), tmp_path)
    whole = path.read_bytes()
    older = whole.replace(b'"format": 2', b'"format": 1')
    for damaged in (whole[:-5], whole[:20], b'', whole[:-1] + b'x', b'[1]\n' + plan, b'{}\n' + plan, older):
        path.write_bytes(damaged)
        assert cache.load(KEY, tmp_path) is None
        with pytest.raises(ModelError, match='build it again'):
            cache.read(path)
    assert caplog.text.count('is not used') == 7
    # A file under another key's name: somebody renamed it.
    other = replace(KEY, tensorrt='8.6.1')
    path.write_bytes(whole)
    path.rename(tmp_path / f'{other.digest}.engine')
    assert cache.load(other, tmp_path) is None and 'built for something else' in caplog.text
    cache.store(cache.Built(other, METADATA, plan), tmp_path)
    assert cache.load(other, tmp_path) == plan
    with pytest.raises(ModelError, match='cliff build-engine'):
        cache.read(tmp_path / 'nowhere.engine')


def test_a_write_that_fails_leaves_the_old_engine_and_nothing_else(tmp_path, monkeypatch):
    cache.store(cache.Built(KEY, METADATA, b'old'), tmp_path)

    def full(_descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(cache.os, 'fsync', full)
    with pytest.raises(OSError, match='No space'):
        cache.store(cache.Built(KEY, METADATA, b'new'), tmp_path)
    assert cache.load(KEY, tmp_path) == b'old' and len(list(tmp_path.iterdir())) == 1


def test_the_cache_is_the_users_own(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert cache.cache_folder() == tmp_path / 'cliff_ros'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    assert cache.cache_folder() == tmp_path / 'home' / '.cache' / 'cliff_ros'


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=8))
def test_packed_buffers_are_aligned_and_do_not_overlap(sizes):
    named = {str(i): size for i, size in enumerate(sizes)}
    offsets, total = cudart.pack(named)
    ends = [offsets[name] + size for name, size in named.items()]
    assert all(offset % cudart.ALIGNMENT == 0 for offset in offsets.values())
    assert all(end <= start for end, start in zip(ends, [*list(offsets.values())[1:], total], strict=True))


def test_without_a_gpu_cuda_says_so():
    try:
        cudart.use_device()
    except cudart.CudaError as error:
        assert 'libcudart' in str(error) or 'no NVIDIA GPU can be used (cudaSetDevice failed' in str(error)
    else:
        assert cudart.device_name() and float(cudart.compute_capability()) > 3


def test_a_lack_of_memory_passes_and_all_else_stays():
    short = cudart.error_of('cudaMalloc', 2, 'out of memory')
    assert isinstance(short, EngineError) and not short.lost and 'lower max_people' in str(short)
    gone = cudart.error_of('cudaStreamSynchronize', 700, 'an illegal memory access was encountered')
    assert gone.lost and 'illegal memory access' in str(gone) and 'start again' in str(gone)


# ---- the parts of TensorRT's bindings that are used, where they are installed; none of this needs a GPU


@pytest.fixture
def trt():
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        pytest.skip(f'TensorRT is not installed, or cannot be loaded: {error}')
    return tensorrt


def test_tensorrt_has_what_is_called(trt):
    used = {
        trt.Builder: 'create_network create_builder_config create_optimization_profile build_serialized_network',
        trt.OnnxParser: 'parse num_errors get_error',
        trt.IBuilderConfig: 'set_memory_pool_limit add_optimization_profile clear_flag set_flag',
        trt.IOptimizationProfile: 'set_shape',
        trt.Runtime: 'deserialize_cuda_engine',
        trt.ICudaEngine: 'create_execution_context',
        trt.IExecutionContext: 'set_input_shape set_tensor_address execute_async_v3',
        trt.INetworkDefinition: 'num_layers get_layer',
        trt.MemoryPoolType: 'WORKSPACE',
        trt.BuilderFlag: 'TF32',
        trt.LayerType: 'CONSTANT SHAPE IDENTITY QUANTIZE DEQUANTIZE',
        trt.ILogger: 'log',
        trt: 'float32',
    }
    from cliff_ros.engine.tensorrt_build import is_strongly_typed

    if is_strongly_typed():
        used[trt.IBuilderConfig] += ' progress_monitor'
    else:
        used[trt.BuilderFlag] += ' FP16 INT8 OBEY_PRECISION_CONSTRAINTS'
        used[trt.ILayer] = 'name type num_outputs get_output precision set_output_type'
        used[trt.ITensor] = 'dtype is_shape_tensor'
    for owner, names in used.items():
        assert [name for name in names.split() if not hasattr(owner, name)] == [], owner


def test_tensorrt_tells_how_far_it_is(trt):
    from cliff_ros.engine import tensorrt_build

    told = []
    monitor = tensorrt_build._monitor(lambda done, what: told.append(done))
    if monitor is None:
        assert not hasattr(trt, 'IProgressMonitor')
        return
    assert isinstance(monitor, trt.IProgressMonitor)
    monitor.phase_start('Building', None, 4)
    assert monitor.step_complete('Building', 1) is True  # False would end the build
    monitor.phase_finish('Building')
    assert told == [0.0, 0.5]


def test_tensorrt_logs_as_we_do(trt, caplog):
    from cliff_ros.engine.tensorrt_build import Log

    caplog.set_level('DEBUG', 'cliff_ros.engine.tensorrt_build')
    log = Log()
    log.log(trt.ILogger.WARNING, 'slow')
    assert 'slow' in caplog.text and log.last_error == 'no reason given'
    log.log(trt.ILogger.ERROR, 'no tactics')
    assert log.last_error == 'no tactics'


def test_engines_that_somebody_else_could_have_written_are_not_read(tmp_path, caplog):
    folder = tmp_path / 'cache'
    built = cache.Built(KEY, METADATA, b'plan')
    path = cache.store(built, folder)

    def refused(words: str) -> bool:
        caplog.clear()
        return cache.load(KEY, folder) is None and words in caplog.text

    path.chmod(0o620)
    assert refused('others may write')
    path.chmod(0o600)
    folder.chmod(0o777)
    assert refused('others may write')
    with pytest.raises(ModelError, match='chmod go-w'):
        cache.store(built, folder)
    folder.chmod(0o700)
    assert cache.load(KEY, folder) == b'plan'
    path.rename(tmp_path / 'elsewhere.engine')
    path.symlink_to(tmp_path / 'elsewhere.engine')
    assert refused('is not used')
    path.unlink()
    path.symlink_to(tmp_path / 'nowhere')
    assert refused('is not used')
    path.unlink()
    os.mkfifo(path, 0o600)
    assert refused('is a pipe')
    path.unlink()
    path.mkdir()
    assert refused('is not used')
    path.rmdir()
    (tmp_path / 'elsewhere.engine').rename(path)
    if os.geteuid() == 0:
        for thing in (path, folder):
            os.chown(thing, 12345, -1)
            assert refused('belongs to another user (12345)')
            os.chown(thing, 0, -1)
        folder.rename(tmp_path / 'real')
        folder.symlink_to(tmp_path / 'real')
        assert cache.load(KEY, folder) == b'plan'  # a link of our own
        os.chown(folder, 12345, -1, follow_symlinks=False)
        assert refused('belongs to another user')
        os.chown(folder, 0, -1, follow_symlinks=False)
    assert cache.load(KEY, folder) == b'plan'
