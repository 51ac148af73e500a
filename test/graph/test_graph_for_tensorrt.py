"""What TensorRT is given: graphs it can read, simplified, in the precision asked for. Run by ONNX Runtime."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch, onnx = pytest.importorskip('torch'), pytest.importorskip('onnx')

import onnxruntime as ort
import published
from graphs import FLOAT, runtime_graph, save, tensor
from onnx import TensorProto, helper, numpy_helper

from cliff_ros import assets
from cliff_ros.body import load_body
from cliff_ros.cliff.embedded import EmbeddedCliff, round_to_half
from cliff_ros.cliff.network import build
from cliff_ros.engine.build_plan import Phases, belongs, profile
from cliff_ros.engine.check import disagreement, probes
from cliff_ros.errors import InputError, ModelError
from cliff_ros.graph import precision, support
from cliff_ros.graph.export import export_graph
from cliff_ros.graph.metadata import ENCODER_PREFIX, read_metadata
from cliff_ros.graph.onnx_file import OnnxFile
from cliff_ros.graph.simplify import simplify


def untrained(name: str):
    """A network whose batch norms do something; one without weights of its own would hide a fold gone wrong."""
    torch.manual_seed(0)
    model = EmbeddedCliff() if name == 'embedded' else build('official', name)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return round_to_half(model).eval()


@pytest.fixture(
    scope='module', params=['shipped', 'embedded', 'resnet50', pytest.param('hrnet_w48', marks=pytest.mark.slow)]
)
def path(request, tmp_path_factory):
    """A runtime graph: the one that is shipped, and one of each encoder as exported now."""
    if request.param == 'shipped':
        return assets.NETWORK
    file = tmp_path_factory.mktemp('graphs') / f'{request.param}.onnx'
    export_graph(untrained(request.param), load_body(), file)
    return file


@pytest.fixture(scope='module')
def prepared(path):
    """The graph as TensorRT is given it."""
    return simplify(path.read_bytes(), path)


def copy(model):
    again = onnx.ModelProto()
    again.CopyFrom(model)
    return again


def run(model, crops: np.ndarray, location: np.ndarray) -> dict[str, np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model if isinstance(model, bytes) else model.SerializeToString(), options)
    return dict(
        zip(
            [output.name for output in session.get_outputs()],
            session.run(None, {'crops': crops, 'location': location}),
            strict=True,
        )
    )


def inputs(path, people: int = 2) -> tuple[np.ndarray, np.ndarray]:
    return probes(read_metadata(OnnxFile(path), path).spec, people)


def assert_close(one: dict, other: dict, tolerance: float) -> None:
    for name, value in one.items():
        scale = max(1.0, np.abs(value).max())  # random weights may put people anywhere
        assert np.abs(value - other[name]).max() <= tolerance * scale, name


@pytest.fixture(scope='module')
def shipped():
    return simplify(assets.NETWORK.read_bytes())


@pytest.fixture(scope='module')
def in_int8(shipped):
    return precision.to_int8(copy(shipped), *inputs(assets.NETWORK, precision.FEWEST_CALIBRATION_CROPS))


# ---- every operator is one that TensorRT's parser knows


def test_tensorrt_can_read_it_as_exported_and_as_prepared(path, prepared, tmp_path):
    """All versions there are tables of: 8.5, 8.6, 10 and 11."""
    assert support.readers(OnnxFile(path)) == (['8.5', '8.6', '10.0', '11.0'], {})
    onnx.save(prepared, str(tmp_path / 'prepared.onnx'))
    assert support.readers(OnnxFile(tmp_path / 'prepared.onnx')) == (['8.5', '8.6', '10.0', '11.0'], {})


@pytest.mark.parametrize('kind', ['half', 'int8'])
def test_tensorrt_can_read_other_precisions(shipped, in_int8, kind, tmp_path):
    model = copy(shipped if kind == 'half' else in_int8)
    if kind == 'half':
        precision.to_half(model)
    onnx.save(model, str(tmp_path / 'model.onnx'))
    assert support.readers(OnnxFile(tmp_path / 'model.onnx')) == (list(support.OPERATORS), {})


def test_what_tensorrt_asks_to_be_constant_is(prepared):
    """The restrictions in the published matrix, and what its importers of Conv and Slice ask for besides."""
    graph = prepared.graph
    stored = {t.name for t in graph.initializer}
    constant = {
        'Slice': slice(1, None),
        'Squeeze': slice(1, None),
        'Unsqueeze': slice(1, None),
        'Conv': slice(1, None),
        'Gemm': slice(1, None),
        'Clip': slice(1, None),
        'Resize': slice(1, None),
        'ReduceSum': slice(1, None),
    }
    for node in graph.node:
        for name in node.input[constant.get(node.op_type, slice(0, 0))]:
            assert not name or name in stored, (node.op_type, node.name, name)
    kinds = {node.op_type for node in graph.node}
    assert not kinds & {'BatchNormalization', 'Identity', 'Constant'}


def test_what_a_user_brings_is_told_apart(tmp_path):
    body = load_body()
    assert support.readers(OnnxFile(runtime_graph(tmp_path / 'tiny.onnx', body)))[0] == list(support.OPERATORS)
    strange = save(
        tmp_path / 'strange.onnx',
        [
            helper.make_node('Transpose', ['crops'], ['turned'], 'turn', perm=[0, 3, 1, 2]),
            helper.make_node('LayerNormalization', ['x', 'x'], ['normal']),
            helper.make_node('Det', ['x'], ['y']),
        ],
        [tensor('crops', [1, 2, 2, 3], TensorProto.UINT8), tensor('x', [2, 2])],
        [tensor('turned', [1, 3, 2, 2], TensorProto.UINT8), tensor('normal', [2, 2]), tensor('y', [])],
        {},
    )
    file = OnnxFile(strange)
    assert file.opset == 17 and [node.kind for node in file.nodes()] == ['Transpose', 'LayerNormalization', 'Det']
    assert support.obstacles(file, '8.5') == [
        'the operator Det',
        'the operator LayerNormalization',
        'Transpose of uint8 (turn)',
    ]
    assert support.obstacles(file, '8.6') == ['the operator Det', 'Transpose of uint8 (turn)']
    newer = onnx.load(str(strange))
    newer.opset_import[0].version = 22
    onnx.save(newer, str(strange))
    assert any('opset 22' in found for found in support.obstacles(OnnxFile(strange), '10.0'))
    assert not any('opset' in found for found in support.obstacles(OnnxFile(strange), '11.0'))


# ---- simplified


def test_simplified_graphs_compute_the_same(path, prepared):
    crops, location = inputs(path)
    onnx.checker.check_model(prepared, full_check=True)
    assert_close(run(path.read_bytes(), crops, location), run(prepared, crops, location), 2e-5)


def test_constants_are_folded_wherever_they_are_read(tmp_path):
    """Read by a branch, given out as they are, and made from others that are folded too."""
    branch = [
        helper.make_graph([helper.make_node(kind, ['twice'], [kind])], kind, [], [tensor(kind, [1])])
        for kind in ('Neg', 'Abs')
    ]
    path = save(
        tmp_path / 'graph.onnx',
        [
            helper.make_node('Add', ['one', 'one'], ['two']),
            helper.make_node('Add', ['two', 'two'], ['four']),
            helper.make_node('Mul', ['x', 'two'], ['twice']),
            helper.make_node('If', ['yes'], ['y'], then_branch=branch[0], else_branch=branch[1]),
        ],
        [tensor('x', [1])],
        [tensor('y', [1]), tensor('four', [1])],
        {'yes': np.array([True]), 'one': np.ones(1, np.float32), 'unread': np.zeros(9, np.float32)},
    )
    prepared = simplify(path.read_bytes())
    onnx.checker.check_model(prepared, full_check=True)
    assert {t.name for t in prepared.graph.initializer} == {'yes', 'two', 'four'}
    session = ort.InferenceSession(prepared.SerializeToString())
    assert [value.tolist() for value in session.run(None, {'x': np.float32([3])})] == [[-6.0], [4.0]]


def test_damaged_graphs_are_refused():
    with pytest.raises(ModelError, match='damaged'):
        simplify(assets.NETWORK.read_bytes()[:100_000], 'model.onnx')


# ---- precision


def test_the_trunk_is_one_part_of_the_encoder_that_begins_at_the_crop(prepared):
    graph = prepared.graph
    names = precision.trunk(graph)
    assert len(set(names)) == len(names) and all(name.startswith(ENCODER_PREFIX) for name in names)
    inside = {node.name for node in graph.node} & set(names)
    convolutions = {node.name for node in graph.node if node.op_type == 'Conv'}
    assert convolutions and convolutions <= inside  # all that costs
    made_inside = {name for node in graph.node if node.name in inside for name in node.output}
    after = [node for node in graph.node if node.name not in inside and set(node.input) & made_inside]
    # Nothing comes back into the trunk from what follows it.
    reached = {name for node in after for name in node.output}
    for node in graph.node:
        if set(node.input) & reached:
            assert node.name not in inside, node.name
            reached.update(node.output)
    assert {'rotations', 'camera', 'translation', 'joints', 'vertices'} <= reached


def test_half_precision_is_in_the_trunk_and_nowhere_else(path, prepared):
    model = copy(prepared)
    names = set(precision.trunk(model.graph))
    crops, location = inputs(path)
    reference = run(model, crops, location)
    precision.to_half(model)
    typed = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)  # they meet at every border
    kinds = {info.name: info.type.tensor_type.elem_type for info in typed.graph.value_info}
    kinds |= {t.name: t.data_type for t in model.graph.initializer}
    for node in typed.graph.node:
        expected = TensorProto.FLOAT16 if node.name in names else TensorProto.FLOAT
        for name in node.output:
            if node.op_type != 'Cast' and kinds.get(name) in (TensorProto.FLOAT, TensorProto.FLOAT16):
                assert kinds[name] == expected, node.name
    assert all(output.type.tensor_type.elem_type == FLOAT for output in model.graph.output)
    given = run(model, crops, location)
    # Pictures of nothing: the soft-argmax of the embedded networks may jump to another mode over a rounding.
    assert disagreement(given, reference) <= 0.05


@pytest.mark.slow
def test_half_precision_moves_nobody_on_people(shipped):
    """On rendered people, joints relative to the pelvis and the place in the room [m]."""
    from cliff_ros.synthetic.crops import generate

    crops, labels = generate(3, 24, num_backgrounds=4)
    location = np.ascontiguousarray(labels['location'])
    half = copy(shipped)
    precision.to_half(half)
    reference, given = run(shipped, crops, location), run(half, crops, location)
    relative = [out['joints'] - out['joints'][:, :1] for out in (reference, given)]
    moved = np.linalg.norm(relative[0] - relative[1], axis=-1).mean(1)
    assert np.median(moved) < 1e-3 and np.percentile(moved, 90) < 5e-3
    place = np.linalg.norm(reference['joints'][:, 0] - given['joints'][:, 0], axis=-1)
    assert np.median(place / reference['joints'][:, 0, 2]) < 1e-3


def test_weights_beyond_half_precision_are_refused(shipped):
    model = copy(shipped)
    node = next(n for n in model.graph.node if n.op_type == 'Conv')
    weight = next(t for t in model.graph.initializer if t.name == node.input[1])
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + np.float32(1e5), weight.name))
    with pytest.raises(ModelError, match='choose the precision fp32'):
        precision.to_half(model)


def test_int8_quantises_the_inner_convolutions_symmetrically(shipped, in_int8):
    chosen, quantised = precision.inner_convolutions(shipped.graph), in_int8
    onnx.checker.check_model(quantised)
    graph, stored = quantised.graph, {t.name: numpy_helper.to_array(t) for t in quantised.graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == 'Conv':
            fed_by = [makers[name].op_type if name in makers else 'stored' for name in node.input[:2]]
            assert (fed_by == ['DequantizeLinear'] * 2) == (node.name in chosen), node.name
        if node.op_type in ('QuantizeLinear', 'DequantizeLinear'):
            assert not stored[node.input[2]].any() and stored[node.input[2]].dtype == np.int8
    convolutions = [node.name for node in graph.node if node.op_type == 'Conv']
    assert convolutions[0] not in chosen and 20 <= len(chosen) < len(convolutions) - 1
    # The head is as it was, to the bit.
    before = {n.name: n for n in shipped.graph.node if not n.name.startswith(ENCODER_PREFIX)}
    after = {n.name: n for n in graph.node}
    assert all(after[name].input == node.input for name, node in before.items())
    # Soft colors are no people, but not noise either: most answers stay near.
    crops, location = inputs(assets.NETWORK, 8)
    reference, given = run(shipped, crops, location), run(quantised, crops, location)
    assert 1e-4 < disagreement(given, reference) < 1.0 and np.isfinite(given['joints']).all()


def test_too_few_crops_do_not_calibrate(shipped):
    with pytest.raises(InputError, match='3 crops are too few'):
        precision.to_int8(shipped, *inputs(assets.NETWORK, 3))


# ---- what is told to the builder, and what it tells


def test_layers_are_told_apart_by_the_nodes_they_were_made_of(shipped):
    trunk = set(precision.trunk(shipped.graph))
    others = {node.name for node in shipped.graph.node} - trunk
    assert all(belongs(name, trunk, others) for name in trunk)
    assert not any(belongs(name, trunk, others) for name in others)
    assert belongs('/encoder/stem/stem.0/stem.0.0/Conv_2', trunk, others)  # numbered by the parser
    assert not belongs('/head/regressor/enter/Gemm_1', trunk, others)
    assert not belongs('ONNXTRT_Broadcast_17', trunk, others)
    assert belongs('/encoder/Add', {'/encoder/Add'}, {'/encoder/Add_1'})
    assert not belongs('/encoder/Add_1', {'/encoder/Add'}, {'/encoder/Add_1'})


@given(st.integers(1, 128))
def test_profiles_rise(max_people):
    fewest, usual, most = profile(max_people)
    assert 1 == fewest <= usual <= most == max_people


def test_nested_phases_make_one_rising_fraction():
    told = []
    phases = Phases(lambda done, what: told.append((done, what)))
    phases.start('Building Engine', None, 2)
    phases.start('Tactics', 'Building Engine', 4)
    for step in range(4):
        phases.step('Tactics', step)
    phases.finish('Tactics')
    phases.step('Building Engine', 0)
    phases.start('Tactics', 'Building Engine', 10)  # once more, for the second step
    phases.step('Tactics', 4)
    phases.finish('Tactics')
    phases.step('Building Engine', 1)
    phases.step('never begun', 3)
    fractions = [done for done, _ in told]
    assert fractions == [0, 0, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 1 / 2, 1 / 2, 3 / 4, 1]
    assert all(a <= b for a, b in pairwise(fractions)) and 'Tactics' in told[2][1]


def test_an_engine_that_computes_something_else_is_noticed(shipped):
    crops, location = inputs(assets.NETWORK, 8)
    reference = run(shipped, crops, location)
    assert disagreement(reference, reference) == 0
    assert disagreement(run(shipped, crops[::-1], location), reference) > 0.1  # another one's crop
    assert disagreement(run(shipped, 255 - crops, location), reference) > 0.1
    broken = {**reference, 'rotations': reference['rotations'] * np.nan}
    assert disagreement(broken, reference) == np.inf


def test_published_weights_survive_it_all(tmp_path):
    """As TensorRT will be given it, against what the authors' code gave for the same weights and inputs."""
    model, expected = published.load('official_resnet50', tmp_path), published.results('official_resnet50')
    export_graph(model, load_body(), tmp_path / 'graph.onnx')
    prepared = simplify((tmp_path / 'graph.onnx').read_bytes())
    given = run(prepared, *published.inputs(model, 3, int(expected['seed'])))
    assert np.abs(given['rotations'] - expected['rotations_3']).max() <= 1e-4
    assert np.abs(given['betas'] - expected['betas_3']).max() <= 1e-4
