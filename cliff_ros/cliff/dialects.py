"""The dialects of CLIFF: everything that differs between the published code bases, in one table.

A network only works with the crops, the normalization and the location feature that it was trained with, so
the checkpoint's dialect decides them all. Plain location, here and in the rest of the package, is the paper's
Eq. 5: l = ((x - cx) / f, (y - cy) / f, b / f), with (x, y) the crop's center and b its height, in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cliff_ros.crop.translation import concatenate

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Dialect:
    """How one code base feeds its networks and names their tensors.

    Tensor names
        container: key of the state dict in the checkpoint file ('' = the file is the state dict).
        prefix: of every tensor of the network; stripped. What does not have it is not the network's.
        prefix_optional: whether checkpoints without the prefix exist.
        encoder, head: names of the two parts, after the prefix.
        unused: tensors, after the prefix, that are stored but take no part in the forward pass.
    Crop
        crop: (height, width) [px]. margin: crop height over max(box height, box width * height / width).
        antialias: whether the authors low-pass filter a crop before they shrink it.
        integer_rectangle: whether they round it to whole pixels.
        turn_beyond: how far off the axis [deg] the people were whom it was trained on; who is farther out is seen
            through a view turned toward them (see CropSpec).
        mean, std: per channel, RGB in [0, 1].
    Location: bbox_info = (gain l0, gain l1, (side l2 - size_mean) / size_spread)
        side: the authors' box size over the crop's height; their camera scale s refers to that size too.
    licence: of the published weights; a remark for users, not legal advice.
    """

    name: str
    crop: tuple[int, int]
    margin: float
    container: str = ''
    prefix: str = ''
    prefix_optional: bool = False
    encoder: str = 'encoder.'
    head: str = 'regressor.'
    unused: tuple[str, ...] = ()
    antialias: bool = False
    integer_rectangle: bool = False
    turn_beyond: float = 30.0  # of Human3.6M, and of photographs whose diagonal stands for their focal length
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    gain: float = 1.0
    size_mean: float = 0.0
    size_spread: float = 1.0
    side: float = 1.0
    licence: str = ''

    @property
    def location_scale(self) -> tuple[float, float, float]:
        """bbox_info = location_scale * location + location_offset."""
        return self.gain, self.gain, self.side / self.size_spread

    @property
    def location_offset(self) -> tuple[float, float, float]:
        """The last term of location_scale's equation: 0 for all but the size."""
        return 0.0, 0.0, -self.size_mean / self.size_spread

    def bbox_info(self, location: Any) -> Any:
        """Plain location (..., 3), numpy or torch -> what the network is fed, the same type and shape."""
        terms = zip(self.location_scale, self.location_offset, strict=True)
        columns = [location[..., i : i + 1] * scale + offset for i, (scale, offset) in enumerate(terms)]
        return concatenate(columns)


# Sources: huawei-noah/noah-research (CLIFF/demo.py, common/), pixelite1201/BEDLAM (train/models/hmr.py,
# train/core/tester.py, data_processing/df_full_body.py), open-mmlab/mmhuman3d (configs/cliff/, GetBboxInfo,
# MeshAffine, HumanImageDataset). The 2.8, 0.24 and 0.06 are Human3.6M's statistics; the weights require them.
DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            'official',
            crop=(256, 192),
            margin=1.1,
            container='model',
            prefix='module.',
            prefix_optional=True,
            head='',
            integer_rectangle=True,
            gain=2.8,
            size_mean=0.24,
            size_spread=0.06,
            licence='code MIT, weights trained on data for research only',
        ),
        Dialect(
            'bedlam',
            crop=(224, 224),
            margin=1.2,
            container='state_dict',
            prefix='model.',
            encoder='backbone.',
            head='head.',
            unused=('backbone.final_layer.', 'head.downsample_module.', 'smpl.'),
            antialias=True,
            turn_beyond=40.0,  # its cameras see up to 65 degrees across
            licence='Max Planck, for non-commercial research only',
        ),
        # Their box is a square of side 1.2 max(w, h), which becomes the crop's WIDTH; its height is 4/3 of that.
        Dialect(
            'mmhuman3d',
            crop=(256, 192),
            margin=1.6,
            container='state_dict',
            encoder='backbone.',
            head='head.',
            unused=('body_model_train.', 'body_model_test.', 'disc.'),
            gain=2.8,
            size_mean=0.24,
            size_spread=0.06,
            side=192 / 256,
            licence='Apache-2.0, weights trained on data for research only',
        ),
    )
}
