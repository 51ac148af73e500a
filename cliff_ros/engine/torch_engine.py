"""PyTorch: the engine of reference, for networks that were not exported yet, and for GPUs without TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cliff_ros.body import BodyModel, load_body
from cliff_ros.cliff import load_model
from cliff_ros.cliff.rebuild import can_rebuild, rebuild
from cliff_ros.crop.cropper import CpuCropper, Cropper
from cliff_ros.crop.torch_sampling import TorchCropper
from cliff_ros.engine.onnx_engine import usable_cores
from cliff_ros.errors import EngineError, ModelError
from cliff_ros.graph.export import RuntimeGraph, read_weights, runtime_graph
from cliff_ros.graph.metadata import GraphMetadata, find_graph, read_metadata, sha256
from cliff_ros.graph.onnx_file import OnnxFile


class TorchEngine:
    """A network and a body in PyTorch (see `cliff_ros.engine.Engine`).

    path: a runtime graph, whose weights are read back out of it, or a checkpoint.
    body: the one of the network; None stands for the embedded one.
    device: None takes a GPU where PyTorch can use one.
    half: on a GPU compute a published network's encoder in float16; all else stays float32. The embedded
        network is small enough to stay float32 as a whole.
    compile: let torch.compile work on the modules; the first image then takes minutes.

    Raises ModelError for a graph that holds no network of ours, or whose body is not the one given.
    """

    def __init__(
        self,
        path: str | Path,
        threads: int = 0,
        reason: str = 'asked for',
        body: BodyModel | None = None,
        device: str | None = None,
        half: bool = True,
        compile: bool = False,
    ) -> None:
        self.reason = reason
        self._device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
        module, self.metadata = load(path, body or load_body())
        self.spec = self.metadata.spec
        on_gpu = self._device.type == 'cuda'
        self._half = half and on_gpu and module.half_encoder
        torch.set_num_threads(threads or min(usable_cores(), 4))
        with _device_errors():
            self._module = module.requires_grad_(False).to(self._device)
            if on_gpu:
                self._module.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._encode: Callable[[Tensor], Tensor] = self._features
        self._after: Callable[..., tuple[Tensor, ...]] = self._module.after
        if compile:
            self._encode = torch.compile(self._encode, dynamic=True)
            self._after = torch.compile(self._after, dynamic=True)
        device_name = torch.cuda.get_device_name(self._device) if on_gpu else 'cpu'
        self.name = f'torch:{torch.__version__}:{device_name}'
        self.cropper: Cropper = TorchCropper(self.spec, self._device) if on_gpu else CpuCropper(self.spec)

    @torch.inference_mode()
    def __call__(
        self, crops: np.ndarray | Tensor, location: np.ndarray, vertices: bool = True
    ) -> dict[str, np.ndarray]:
        """As `Engine` says; crops may be an array or, by `cropper`, a tensor on the device.

        EngineError where the GPU fails or has too little memory.
        """
        people = len(crops)
        if people == 0:
            return self.metadata.nobody(vertices)
        names = self.metadata.outputs(vertices)
        shapes = self.metadata.output_shapes(people)
        # cuDNN would round float32 convolutions to TF32's 10 bits.
        with _device_errors(), torch.backends.cudnn.flags(allow_tf32=False):
            pixels, places = self._upload(crops, location)
            outputs = self._after(self._encode(pixels), places, vertices)
            # One download: all outputs of a person in a row.
            packed = torch.cat([output.reshape(people, -1) for output in outputs], 1).cpu().numpy()
        ends = np.cumsum([int(np.prod(shapes[name][1:])) for name in names])
        parts = np.split(packed, ends[:-1], 1)
        return {name: part.reshape(shapes[name]) for name, part in zip(names, parts, strict=True)}

    def _features(self, crops: Tensor) -> Tensor:
        pixels = self._module.normalize(crops.float())
        with torch.autocast(self._device.type, torch.float16, enabled=self._half):
            features = self._module.encoder(pixels)
        return features.float()

    def _upload(self, crops: np.ndarray | Tensor, location: np.ndarray) -> tuple[Tensor, Tensor]:
        """One upload: location, then crops, which need no alignment; crops that lie on the device already stay."""
        location = np.ascontiguousarray(location, np.float32)
        if isinstance(crops, Tensor):
            return crops, torch.from_numpy(location).to(self._device)
        crops = np.ascontiguousarray(crops, np.uint8)
        if self._device.type == 'cpu':
            return torch.from_numpy(crops), torch.from_numpy(location)
        packed = torch.empty(location.nbytes + crops.nbytes, dtype=torch.uint8, pin_memory=True)
        packed[: location.nbytes] = torch.from_numpy(location.reshape(-1).view(np.uint8))
        packed[location.nbytes :] = torch.from_numpy(crops.reshape(-1))
        there = packed.to(self._device, non_blocking=True)
        return (
            there[location.nbytes :].view(crops.shape),
            there[: location.nbytes].view(torch.float32).view(location.shape),
        )


def load(path: str | Path, body: BodyModel) -> tuple[RuntimeGraph, GraphMetadata]:
    """The module of a runtime graph or a checkpoint, in eval mode on the CPU, and its metadata."""
    if not (str(path) == 'embedded' or Path(path).suffix.lower() == '.onnx'):
        module, metadata = runtime_graph(load_model(path), body)
        return module, replace(metadata, sha256=sha256(Path(path).expanduser()))
    path = find_graph(path)
    metadata = read_metadata(OnnxFile(path), path)
    if metadata.body_sha256 != body.sha256:
        raise ModelError(
            f'the graph {metadata.model!r} was exported with the body {metadata.body!r}, which is '
            f'not {body.name!r}: give that body, or export the graph again with this one'
        )
    if not can_rebuild(metadata):
        raise ModelError(
            f'{path} holds the network {metadata.model!r}, which PyTorch cannot rebuild: run it with the engine onnx'
        )
    network, weights = rebuild(metadata, read_weights(path))
    module = RuntimeGraph(network, body).eval()
    module.has_presence = metadata.presence  # it need not give all that its network knows
    state = module.state_dict()
    # A head may hold its whole network: those weights are the encoder's own.
    wanted = [
        name
        for name in state
        if name.startswith(('encoder.', 'head.'))
        and not name.startswith('head.model.encoder.')
        and not name.endswith('num_batches_tracked')
    ]
    if missing := [name for name in wanted if name not in weights]:
        raise ModelError(
            f'{path} lacks the weights {missing[:3]}: run it with the engine onnx, or export it again '
            f"with this version's 'cliff export'"
        )
    module.load_state_dict({name: weights[name].reshape(state[name].shape) for name in wanted}, strict=False)
    return module, metadata


class _device_errors:  # noqa: N801  read as the verb of a with statement
    """What PyTorch says of a GPU in trouble, as EngineError."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, torch.OutOfMemoryError):
            raise EngineError(
                f'the GPU has too little memory for this image ({_line(error)}): lower max_people, or '
                f'choose the engine onnx'
            ) from error
        # AcceleratorError is PyTorch's name for it since 2.8.
        lost = getattr(torch, 'AcceleratorError', ())
        if isinstance(error, lost) or (isinstance(error, RuntimeError) and 'CUDA error' in str(error)):
            raise EngineError(
                f'the GPU failed ({_line(error)}): look at its driver (dmesg, nvidia-smi), then start '
                f'again, or choose the engine onnx',
                lost=True,
            ) from error


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
