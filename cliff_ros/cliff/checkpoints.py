"""Checkpoints of every dialect, recognized from their tensors, loaded strictly, never executed.

Also our own format: a safetensors file of the same tensors under our names, with the dialect in its metadata.
"""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cliff_ros.cliff.dialects import DIALECTS, Dialect
from cliff_ros.cliff.network import Cliff, build
from cliff_ros.errors import ModelError
from cliff_ros.files import check_regular, write_aside
from cliff_ros.sandbox import run_limited

FORMAT = 'cliff_ros 1'
# Before, weights_only did not keep a checkpoint from running code.
_SAFE_TORCH = '2.6'
# BEDLAM's trainer leaves its configuration in the checkpoint: a dict subclass, read as a plain one.
_INERT_GLOBALS: list[Any] = [(OrderedDict, 'yacs.config.CfgNode')]


class Architecture(NamedTuple):
    """Keys of DIALECTS, ENCODERS and BODIES."""

    dialect: str
    encoder: str
    body: str


PUBLISHED = (
    Architecture('official', 'resnet50', 'smpl'),
    Architecture('official', 'hrnet_w48', 'smpl'),
    Architecture('bedlam', 'hrnet_w48_pose', 'smplx'),
    Architecture('bedlam', 'hrnet_w48_pose', 'smpl'),
    Architecture('mmhuman3d', 'resnet50', 'smpl'),
)


def read_model(path: Path) -> Cliff:
    """The network of a checkpoint file, in eval mode. See ``cliff_ros.cliff.load_model``."""
    if not path.is_file():
        raise ModelError(f"no checkpoint at '{path}': give 'embedded' or a .pt, .ckpt, .pth or .safetensors file")
    if path.suffix == '.safetensors':
        return _read_own(path)
    state = read_tensors(path, [dialect.container for dialect in DIALECTS.values()])
    if not state:
        raise ModelError(
            f"checkpoint '{path}' has no weights under 'model' or 'state_dict': it is not a CLIFF checkpoint"
        )
    candidates = []
    for architecture in PUBLISHED:
        found = _network_tensors(state, DIALECTS[architecture.dialect])
        names = _names(architecture)
        shapes = {names[key]: shape for key, shape in _shapes(architecture).items()}
        differences = _differences(found, shapes)
        if not differences:
            return _assemble(path, architecture, {ours: found[theirs] for ours, theirs in names.items()})
        candidates.append((len(differences), architecture, differences))
    _, nearest, differences = min(candidates, key=lambda candidate: candidate[0])
    raise ModelError(
        f"checkpoint '{path}' is none of the known CLIFF networks; the nearest is {nearest.encoder} for "
        f'{nearest.body} in the {nearest.dialect} dialect, from which it differs in {_first(differences)}'
    )


def write_model(model: Cliff, path: Path, source: str = '', source_sha256: str = '') -> None:
    """Write our own format, all or nothing (OutputError). ``source``: name of the file that the weights came from."""
    metadata = {
        'format': FORMAT,
        'dialect': model.dialect,
        'encoder': model.name.removeprefix('cliff_'),
        'body': model.body,
        'source': source,
        'source_sha256': source_sha256,
        'licence': model.licence,
    }
    # Copies, because safetensors refuses tensors that share memory.
    state = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in model.state_dict().items()}
    with write_aside(path) as partial:
        try:
            save_file(state, partial, metadata)
        except SafetensorError as error:  # of an operating system's error it keeps only the text
            raise OSError(None, str(error)) from error


def _read_own(path: Path) -> Cliff:
    try:
        with safe_open(path, 'pt') as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
    except (SafetensorError, OSError) as error:
        raise ModelError(f"'{path}' is not a whole safetensors file ({error}): convert it again") from None
    architecture = Architecture(*(metadata.get(key, '') for key in Architecture._fields))
    if metadata.get('format') != FORMAT or architecture not in PUBLISHED:
        raise ModelError(
            f"'{path}' was not written by this version's 'cliff convert' (its format is "
            f"'{metadata.get('format', 'unknown')}', not '{FORMAT}'): convert the original checkpoint"
        )
    differences = _differences(state, _shapes(architecture))
    if differences:
        raise ModelError(f"'{path}' is damaged (it differs in {_first(differences)}): convert the original again")
    model = _assemble(path, architecture, state)
    model.licence = metadata.get('licence', model.licence)
    return model


def unpickle(path: Path) -> object:
    """The content of a file by ``torch.save``, on the CPU, if it is nothing but data; else ModelError."""
    _check_torch(path)
    try:
        with torch.serialization.safe_globals(_INERT_GLOBALS):
            return torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r'GLOBAL (\S+) (?:was|whose)', str(error))
        what = f"wants to call '{named[1]}'" if named else f'is damaged or more than data ({_line(error)})'
        raise ModelError(
            f"checkpoint '{path}' {what}: it was refused and nothing of it was run; get it from its authors"
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  a damaged file can fail in any way, all the same to the user
        raise ModelError(
            f"'{path}' is no PyTorch checkpoint or is damaged ({_line(error)}): download it again"
        ) from None


def _check_torch(path: Path) -> None:
    if torch.__version__ < _SAFE_TORCH:
        raise ModelError(
            f"checkpoint '{path}' was not opened: PyTorch {torch.__version__} can be made to run code in it "
            f"(CVE-2025-32434); install torch>={_SAFE_TORCH}, or use a .safetensors file by 'cliff convert'"
        )


def read_tensors(path: Path, containers: Sequence[str]) -> dict[str, Tensor]:
    """The tensors by name of a file by ``torch.save``, from under the first of ``containers`` that it has, or from its
    top; read in a child process with limits on memory and time. bfloat16 comes as float32. ModelError."""
    _check_torch(path)
    try:
        check_regular(path)
    except ModelError as error:
        raise ModelError(f"checkpoint '{path}' {error}") from None
    arrays = run_limited(
        f'{__name__}:parse_tensors', path, containers, what=f"checkpoint '{path}'", libraries=('torch',)
    )
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def parse_tensors(path: str, containers: Sequence[str]) -> dict[str, np.ndarray]:
    """As `read_tensors`, in this process, as arrays."""
    checkpoint = unpickle(Path(path))
    if not isinstance(checkpoint, dict):
        return {}
    found = (checkpoint.get(container) for container in containers)
    inner = next((value for value in found if isinstance(value, dict)), checkpoint)
    try:
        return {
            str(key): (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()
            for key, value in inner.items()
            if isinstance(value, Tensor)
        }
    except (RuntimeError, TypeError) as error:
        raise ModelError(
            f"checkpoint '{path}' holds tensors that cannot be read ({_line(error)}): get it from its authors"
        ) from None


def _network_tensors(state: dict[str, Tensor], dialect: Dialect) -> dict[str, Tensor]:
    """What belongs to the network, without the prefix; what the dialect stores but never uses is left out."""
    prefix = dialect.prefix
    stripped = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    if not stripped and dialect.prefix_optional:
        stripped = state
    return {key: value for key, value in stripped.items() if not key.startswith(dialect.unused)}


def _outline(architecture: Architecture) -> Cliff:
    """The network without memory for its weights."""
    with torch.device('meta'):
        return build(*architecture)


@lru_cache
def _shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in _outline(architecture).state_dict().items()}


def _names(architecture: Architecture) -> dict[str, str]:
    """Our tensor names -> the dialect's, without the prefix."""
    dialect = DIALECTS[architecture.dialect]
    parts = {'encoder': dialect.encoder, 'regressor': dialect.head}
    return {key: parts[key.partition('.')[0]] + key.partition('.')[2] for key in _shapes(architecture)}


def _differences(found: dict[str, Tensor], wanted: dict[str, tuple[int, ...]]) -> list[str]:
    """What a user would want to read first, first."""
    shapes = [
        f'the shape of {key}, {tuple(found[key].shape)} instead of {shape}'
        for key, shape in wanted.items()
        if key in found and tuple(found[key].shape) != shape
    ]
    missing = [f'{key}, which is missing' for key in wanted if key not in found]
    unknown = [f'{key}, which is unknown' for key in found if key not in wanted]
    return shapes + missing + unknown


def _assemble(path: Path, architecture: Architecture, state: dict[str, Tensor]) -> Cliff:
    for key, tensor in state.items():
        if tensor.is_floating_point():
            state[key] = tensor = tensor.float()
            # In double precision a sum of floats is finite exactly if they all are.
            if not np.isfinite(tensor.numpy().sum(dtype=np.float64)):
                raise ModelError(f"checkpoint '{path}' is damaged: tensor '{key}' holds values that are not finite")
    model = _outline(architecture)
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


def _first(differences: list[str], count: int = 4) -> str:
    more = f'; and {len(differences) - count} more' if len(differences) > count else ''
    return '; '.join(differences[:count]) + more


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
