"""Write the runtime graph: one ONNX file from uint8 crops and location to people (see graph/metadata.py)."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from cliff_ros.body import BodyModel
from cliff_ros.body.layer import SmplLayer
from cliff_ros.body.names import kind_of_body
from cliff_ros.crop.translation import full_translation
from cliff_ros.crop.views import CropSpec
from cliff_ros.errors import InputError, MissingExtra
from cliff_ros.files import write_bytes
from cliff_ros.graph.metadata import INPUTS, METADATA_KEY, PRESENCE, GraphMetadata

if TYPE_CHECKING:
    import onnx
    from typing_extensions import Self

HALF_SUFFIX = '.half'
OPSET = 16  # with 17 comes LayerNormalization as one node, which TensorRT 8.5 does not know


class Network(Protocol):
    """What can be exported: a network as of `cliff_ros.cliff.load_model`."""

    encoder: Any

    @property
    def name(self) -> str:
        """The architecture's, as ``model`` in the graph's metadata."""
        ...  # of the architecture

    @property
    def dialect(self) -> str:
        """What the network's crops and location follow: a key of `DIALECTS`, or 'embedded'."""
        ...

    @property
    def body(self) -> str:
        """The body model whose joints and betas are regressed: it must be that of the exported body."""
        ...  # 'smpl' or 'smplx'

    @property
    def spec(self) -> CropSpec:
        """The crops that the network wants."""
        ...

    @property
    def half_encoder(self) -> bool:
        """Whether engines may run the encoder, and nothing after it, in half precision."""
        ...  # whether it may compute in float16 on a GPU

    @property
    def num_betas(self) -> int:
        """Shape coefficients that are regressed; the graph answers with no more than the body has."""
        ...

    def normalize(self, crops: Tensor) -> Tensor:
        """Crops (B, h, w, 3) uint8 RGB -> (B, 3, h, w) float32, as the encoder takes them."""
        ...

    def inference_head(self) -> Any:
        """A module: features and plain location (B, 3) -> rotations (B, 24, 3, 3), betas, camera (B, 3) = (s, tx, ty),
        with s in relation to the crop's height."""
        ...

    def eval(self) -> Self:
        """Switch to inference, as PyTorch's modules do, and return the network itself."""
        ...


class RuntimeGraph(nn.Module):
    """Network, body and crop camera in one module: what is exported."""

    def __init__(self, model: Network, body: BodyModel) -> None:
        super().__init__()
        self.encoder: nn.Module = model.encoder
        self.head: Any = model.inference_head()
        self.normalize: Callable[[Tensor], Tensor] = model.normalize
        self.half_encoder: bool = model.half_encoder
        num_betas = min(body.num_betas, model.num_betas)
        self.num_betas = num_betas
        self.smpl = SmplLayer(body, num_betas)
        self.has_presence = hasattr(self.head, PRESENCE)

    def forward(self, crops: Tensor, location: Tensor) -> tuple[Tensor, ...]:
        """Crops (B, h, w, 3) uint8, location (B, 3) -> the outputs in the order of `GraphMetadata.outputs`."""
        # TensorRT takes uint8 at the door only: whatever a network does first, it does to floats.
        return self.after(self.encoder(self.normalize(crops.float())), location)

    def after(self, features: Tensor, location: Tensor, vertices: bool = True) -> tuple[Tensor, ...]:
        """All that comes after the encoder, which must not be computed in less than float32."""
        rotations, betas, camera = self.head(features, location)
        betas = betas[:, : self.num_betas]
        translation = full_translation(camera, location)
        joints, mesh = self.smpl(betas, rotations, vertices)
        outputs = (rotations, betas, camera, translation, joints + translation.unsqueeze(1))
        outputs += (mesh + translation.unsqueeze(1),) if vertices else ()
        return (*outputs, self.head.presence(features)) if self.has_presence else outputs


def fits(model: Network, body: BodyModel) -> bool:
    """Whether a body is of the kind whose betas the network regresses: SMPL or SMPL-X."""
    return model.body == kind_of_body(body.num_vertices)


def runtime_graph(model: Network, body: BodyModel) -> tuple[RuntimeGraph, GraphMetadata]:
    """Network and body in one module, in eval mode, and what its file says of it (see graph/metadata.py).

    Raises InputError when the body is not of the kind whose betas the network regresses.
    """
    if not fits(model, body):
        raise InputError(
            f"the network regresses {model.body}, but the body '{body.name}' has {body.num_vertices} "
            f'vertices: give the body that the network was trained for'
        )
    graph = RuntimeGraph(model.eval(), body).eval()
    return graph, GraphMetadata(
        model=model.name,
        dialect=model.dialect,
        spec=model.spec,
        body=body.name,
        body_sha256=body.sha256,
        num_vertices=body.num_vertices,
        num_betas=graph.num_betas,
        presence=graph.has_presence,
    )


def export_graph(model: Network, body: BodyModel, path: str | Path, licence: str = '', **more: object) -> GraphMetadata:
    """Write the runtime graph of a network with a body; returns its metadata.

    Parameters
    ----------
    model: of `cliff_ros.load_model`, in eval mode
    body: whose betas the network was trained for
    licence: of the weights
    more: further metadata, JSON values

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
    spec = model.spec
    example = (torch.zeros(2, spec.height, spec.width, 3, dtype=torch.uint8), torch.tensor([[0.1, 0.1, 0.6]] * 2))
    outputs = metadata.outputs()
    exported = io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(
            graph,
            example,
            exported,  # type: ignore[arg-type]  # a file is as good as its name
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
    metadata = replace(metadata, licence=licence, more=more, shared=_shared(graph, proto.graph))
    halve(proto.graph)
    proto.metadata_props.add(key=METADATA_KEY, value=json.dumps(metadata.as_json()))
    onnx.checker.check_model(proto)
    write_bytes(path, proto.SerializeToString())
    return metadata


def _shared(module: nn.Module, graph: onnx.GraphProto) -> dict[str, str]:
    """Parameter -> initializer, where the exporter merged equal tensors under one name."""
    from onnx import numpy_helper

    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return {
        name: next(other for other, value in stored.items() if np.array_equal(value, tensor.detach().numpy()))
        for name, tensor in module.named_parameters()
        if name not in stored
    }


def halve(graph: onnx.GraphProto, rounding: bool = False) -> None:
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
    metadata: dict[str, Any] = next((json.loads(p.value) for p in proto.metadata_props if p.key == METADATA_KEY), {})
    weights |= {name: weights[other] for name, other in metadata.get('shared', {}).items()}
    # Equal buffers, as of batch norms, are stored once too; the exporter names the others by nodes.
    return weights | {
        node.output[0]: weights[node.input[0]]
        for node in proto.graph.node
        if node.op_type == 'Identity' and node.input[0] in weights
    }
