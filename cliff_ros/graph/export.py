"""Write the runtime graph: one ONNX file from uint8 crops and location to people (see graph/metadata.py)."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cliff_ros.body import NUM_JOINTS, BodyModel
from cliff_ros.body.kinematics import Kinematics
from cliff_ros.errors import InputError, MissingExtra
from cliff_ros.files import write_bytes
from cliff_ros.graph.metadata import FORMAT, INPUTS, METADATA_KEY, PRESENCE, wanted

HALF_SUFFIX = '.half'
_MORE_THAN_SMPL = 10_000  # vertices: SMPL has 6890, SMPL-X 10475
OPSET = 16  # with 17 comes LayerNormalization as one node, which TensorRT 8.5 does not know


class SmplLayer(nn.Module):
    """SMPL's forward function from matrix products alone, so that every engine runs it fast."""

    def __init__(self, body: BodyModel, num_betas: int) -> None:
        super().__init__()
        self.num_vertices = body.num_vertices
        self.kinematics = Kinematics(body, num_betas)
        constants = dict(
            template=body.v_template.reshape(1, -1),
            weights=body.weights,
            shape=body.shapedirs[..., :num_betas].reshape(-1, num_betas).T,
        )
        if body.posedirs is not None:
            constants['pose'] = body.posedirs.reshape(-1, body.posedirs.shape[-1]).T
        for name, value in constants.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value, np.float32)))

    def forward(self, betas: Tensor, rotations: Tensor, vertices: bool = True) -> tuple[Tensor, Tensor | None]:
        """betas (B, S), rotations (B, 24, 3, 3) -> joints (B, 24, 3), vertices (B, V, 3), translation zero.

        Without ``vertices`` None stands for them.
        """
        rest = self.kinematics.rest(betas)
        world, joints = self.kinematics(rest, rotations)
        if not vertices:
            return joints, None
        offset = joints - (world @ rest.unsqueeze(-1)).squeeze(-1)
        bones = torch.cat([world, offset.unsqueeze(-1)], -1).reshape(-1, NUM_JOINTS, 12)
        shaped = self.template + betas @ self.shape
        if hasattr(self, 'pose'):
            identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            shaped = shaped + (rotations[:, 1:] - identity).reshape(-1, (NUM_JOINTS - 1) * 9) @ self.pose
        shaped = shaped.view(-1, self.num_vertices, 3)
        blend = (self.weights @ bones).view(-1, self.num_vertices, 3, 4)
        return joints, (blend[..., :3] * shaped.unsqueeze(2)).sum(-1) + blend[..., 3]


class RuntimeGraph(nn.Module):
    """Network, body and crop camera in one module: what is exported."""

    def __init__(self, model: nn.Module, body: BodyModel) -> None:
        super().__init__()
        self.encoder, self.head, self.normalise = model.encoder, model.inference_head(), model.normalise
        num_betas = min(body.num_betas, getattr(model, 'num_betas', 10))
        self.num_betas = num_betas
        self.smpl = SmplLayer(body, num_betas)
        self.has_presence = hasattr(self.head, PRESENCE)

    def forward(self, crops: Tensor, location: Tensor) -> tuple[Tensor, ...]:
        """Crops (B, h, w, 3) uint8, location (B, 3) -> the outputs in the order of `graph.wanted`."""
        # TensorRT takes uint8 at the door only: whatever a network does first, it does to floats.
        return self.after(self.encoder(self.normalise(crops.float())), location)

    def after(self, features: Tensor, location: Tensor, vertices: bool = True) -> tuple[Tensor, ...]:
        """All that comes after the encoder, which must not be computed in less than float32."""
        rotations, betas, camera = self.head(features, location)
        betas = betas[:, : self.num_betas]
        scale = location[:, 2:] * camera[:, :1]
        depth = 2 / scale
        translation = torch.cat(
            [camera[:, 1:2] + location[:, :1] * depth, camera[:, 2:3] + location[:, 1:2] * depth, depth], 1
        )
        joints, mesh = self.smpl(betas, rotations, vertices)
        outputs = (rotations, betas, camera, translation, joints + translation.unsqueeze(1))
        outputs += (mesh + translation.unsqueeze(1),) if vertices else ()
        return (*outputs, self.head.presence(features)) if self.has_presence else outputs


def fits(model: nn.Module, body: BodyModel) -> bool:
    """Whether a body is of the kind whose betas the network regresses: SMPL or SMPL-X."""
    return model.body == kind_of_body(body.num_vertices)


def kind_of_body(num_vertices: int) -> str:
    """``'smpl'`` or ``'smplx'``."""
    return 'smplx' if num_vertices > _MORE_THAN_SMPL else 'smpl'


def runtime_graph(model: nn.Module, body: BodyModel) -> tuple[RuntimeGraph, dict]:
    """Network and body in one module, in eval mode, and what its file says of it (see graph/metadata.py).

    Raises InputError when the body is not of the kind whose betas the network regresses.
    """
    if not fits(model, body):
        raise InputError(
            f"the network regresses {model.body}, but the body '{body.name}' has {body.num_vertices} "
            f'vertices: give the body that the network was trained for'
        )
    graph, spec = RuntimeGraph(model.eval(), body).eval(), model.spec
    return graph, dict(
        format=FORMAT,
        model=model.name,
        dialect=model.dialect,
        crop=[spec.height, spec.width],
        margin=spec.margin,
        antialias=spec.antialias,
        integer_rectangle=spec.integer_rectangle,
        turn_beyond=spec.turn_beyond,
        body=body.name,
        body_sha256=body.sha256,
        num_vertices=body.num_vertices,
        num_betas=graph.num_betas,
        presence=graph.has_presence,
    )


def export_graph(model: nn.Module, body: BodyModel, path: str | Path, **extra: object) -> dict:
    """Write the runtime graph of a network with a body; returns its metadata.

    Parameters
    ----------
    model: of `cliff_ros.load_model`, in eval mode
    body: whose betas the network was trained for
    extra: further metadata, JSON values

    Raises
    ------
    InputError
        when the body is not of the kind whose betas the network regresses: SMPL or SMPL-X.
    MissingExtra
        without the `onnx` package.
    OutputError
        where the graph cannot be written; then what was there stays.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtra('exporting a graph', 'torch') from None
    graph, metadata = runtime_graph(model, body)
    metadata |= extra
    spec = model.spec
    example = (torch.zeros(2, spec.height, spec.width, 3, dtype=torch.uint8), torch.tensor([[0.1, 0.1, 0.6]] * 2))
    outputs = wanted(metadata)
    exported = io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(
            graph,
            example,
            exported,
            input_names=list(INPUTS),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=False,
            # parameters keep their names and batch norms stay nodes (engines fuse them on load),
            # so that the network can be read back from the graph
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            dynamic_axes={name: {0: 'people'} for name in (*INPUTS, *outputs)},
        )
    proto = onnx.load_from_string(exported.getvalue())
    metadata['shared'] = _shared(graph, proto.graph)
    halve(proto.graph)
    proto.metadata_props.add(key=METADATA_KEY, value=json.dumps(metadata))
    onnx.checker.check_model(proto)
    write_bytes(path, proto.SerializeToString())
    return metadata


def _shared(module: nn.Module, graph) -> dict[str, str]:
    """Parameter -> initializer, where the exporter merged equal tensors under one name."""
    from onnx import numpy_helper

    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return {
        name: next(other for other, value in stored.items() if np.array_equal(value, tensor.detach().numpy()))
        for name, tensor in module.named_parameters()
        if name not in stored
    }


def halve(graph, rounding: bool = False) -> None:
    """Store large float32 initializers that float16 holds exactly as float16 behind a Cast; in place.

    Engines fold the Cast on load. Half the file for a network trained to be rounded, as the embedded one; the
    weights of others, and the body, would change the results by ten times what is allowed, and stay.
    rounding: all that fit into its range, exactly or not, as a detector may be.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.FLOAT and values.size >= 1024:
            with np.errstate(over='ignore'):
                half = values.astype(np.float16)
            if np.isfinite(half).all() and (rounding or np.array_equal(half, values)):
                name = tensor.name
                tensor.CopyFrom(numpy_helper.from_array(half, name + HALF_SUFFIX))
                casts.append(
                    helper.make_node('Cast', [name + HALF_SUFFIX], [name], f'{name}/Cast', to=TensorProto.FLOAT)
                )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The parameters of an exported graph by name, float32."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise MissingExtra('reading weights out of a graph', 'torch') from None
    proto = onnx.load(str(path))
    weights = {
        tensor.name.removesuffix(HALF_SUFFIX): torch.from_numpy(numpy_helper.to_array(tensor).copy()).float()
        for tensor in proto.graph.initializer
    }
    metadata = next((json.loads(p.value) for p in proto.metadata_props if p.key == METADATA_KEY), {})
    weights |= {name: weights[other] for name, other in metadata.get('shared', {}).items()}
    # Equal buffers, as of batch norms, are stored once too; the exporter names the others by nodes.
    return weights | {
        node.output[0]: weights[node.input[0]]
        for node in proto.graph.node
        if node.op_type == 'Identity' and node.input[0] in weights
    }
