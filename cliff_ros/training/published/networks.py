"""The network that a training starts from and the files it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cliff_ros import assets
from cliff_ros.body import BodyModel
from cliff_ros.cliff import load_model
from cliff_ros.cliff.checkpoints import read_tensors, write_model
from cliff_ros.cliff.embedded import EmbeddedCliff, load_embedded, round_to_half
from cliff_ros.cliff.network import Cliff, build
from cliff_ros.errors import ModelError
from cliff_ros.graph.export import export_graph
from cliff_ros.training.published.config import TrainingConfig
from cliff_ros.training.published.means import FIT, fit_means, read_means

# What ImageNet files hold besides the encoder, and what old ones lack.
_CLASSIFIERS = ('fc.', 'classifier.')
_OPTIONAL = '.num_batches_tracked'
# Of the weights that come out of a training: code cannot know it.
LICENCE = 'unknown: decided by the training data'


def make_network(config: TrainingConfig) -> Cliff | EmbeddedCliff:
    """The network of a configuration, with its first weights; or the embedded one.

    In the official dialect, or in that of the checkpoint it goes on from. Means: of the checkpoint, given, or fitted.
    """
    if config.network == 'embedded':
        return _embedded(config.initial_network)
    licence = LICENCE
    if config.initial_network:
        model = load_model(config.initial_network)
        # BEDLAM's encoder is HRNet-W48 too, in its form for poses; the dialect's crops and location come with it.
        names = (f'cliff_{config.network}', f'cliff_{config.network}_pose')
        if not isinstance(model, Cliff) or model.name not in names or model.body != 'smpl':
            raise ModelError(
                f"'{config.initial_network}' is {model.name} for {model.body} in the {model.dialect} "
                f'dialect: training {config.network} goes on from SMPL checkpoints of it, of any dialect'
            )
        licence = model.licence if LICENCE in model.licence else f'{model.licence}; trained on: {LICENCE}'
    else:
        model = build('official', config.network)
        for layer in model.encoder.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode='fan_out', nonlinearity='relu')
        if config.initial_backbone:
            read_backbone(model.encoder, Path(config.initial_backbone).expanduser())
    if config.mean_parameters and config.mean_parameters != FIT:
        read_means(model, Path(config.mean_parameters).expanduser())
    elif config.mean_parameters == FIT or not config.initial_network:
        fit_means(model, config)
    if not config.location:
        blind(model)
    model.licence = licence
    return model


def _embedded(source: str) -> EmbeddedCliff:
    if not source:
        return EmbeddedCliff()
    return load_embedded() if source == 'embedded' else load_embedded(Path(source).expanduser())


def read_backbone(encoder: nn.Module, path: Path) -> None:
    """Load ImageNet weights into an encoder: torchvision's or timm's ResNet-50, HRNet's or timm's HRNet-W48.

    Nothing may be missing but counters of batches, and nothing unknown be there but the classifier.
    Raises ModelError naming the first tensor that does not fit.
    """
    if not path.is_file():
        raise ModelError(
            f"there is no file '{path}': give the encoder's ImageNet weights as 'initial_backbone', or "
            'leave it out to train from nothing'
        )
    found = _tensors(path)
    wanted = encoder.state_dict()
    for key, tensor in wanted.items():
        if key not in found:
            if key.endswith(_OPTIONAL):
                continue
            raise ModelError(f"'{path}' lacks the tensor '{key}': it is not of this encoder")
        if found[key].shape != tensor.shape:
            raise ModelError(
                f"'{path}': tensor '{key}' has shape {tuple(found[key].shape)} instead of "
                f'{tuple(tensor.shape)}: it is not of this encoder'
            )
    unknown = [key for key in found if key not in wanted and not key.startswith(_CLASSIFIERS)]
    if unknown:
        raise ModelError(f"'{path}' holds the tensor '{unknown[0]}', which this encoder does not have")
    encoder.load_state_dict({key: found.get(key, tensor) for key, tensor in wanted.items()})


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pth or .safetensors file by name, without a wrapper's prefix; nothing in it is run."""
    if path.suffix == '.safetensors':
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"'{path}' is not a whole safetensors file ({error}): get it again") from None
    tensors = {
        name.removeprefix('module.'): value for name, value in read_tensors(path, ('state_dict', 'model')).items()
    }
    if tensors:
        return tensors
    raise ModelError(f"'{path}' holds no tensors: it is not a file of weights")


@torch.no_grad()
def blind(model: Cliff) -> None:
    """Cut the regressor's connections from the location. With zeros for its input, training leaves them cut."""
    first = model.encoder.num_features
    model.regressor.fc1.weight[:, first : first + 3] = 0


class Trainee(nn.Module):
    """The network in training: uint8 crops and plain location in; the encoder in half precision, the rest not.

    Half precision on the camera would mean steps of centimeters in depth.
    """

    def __init__(self, model: Cliff | EmbeddedCliff, location: bool, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.model: Any = model  # whose attributes PyTorch types as Tensor | Module
        self.location, self.precision = location, precision

    def forward(self, crops: Tensor, location: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Crops (B, h, w, 3) uint8, location (B, 3) -> rotations, betas, camera."""
        model = self.model
        info = model.bbox_info(location) if self.location else torch.zeros_like(location)
        x = model.normalize(crops).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, self.precision, enabled=self.precision != torch.float32):
            features = model.encoder(x)
        rotations, betas, camera = model.features_to_parameters(features.float(), info)
        # Losses take the camera's scale relative to the crop's height, as a graph's is.
        side = getattr(getattr(model, 'conventions', None), 'side', 1.0)
        return rotations, betas, camera if side == 1 else torch.cat([camera[:, :1] * side, camera[:, 1:]], 1)


def write_network(model: Cliff | EmbeddedCliff, body: BodyModel, folder: Path) -> Path:
    """Write weights (on the CPU) for ``cliff export``; the embedded network becomes a runtime graph at once."""
    if isinstance(model, EmbeddedCliff):
        path = folder / assets.NETWORK.name
        export_graph(round_to_half(model), body, path, licence=LICENCE)
        return path
    path = folder / f'{model.name}.safetensors'
    write_model(model, path, 'cliff train')
    return path
