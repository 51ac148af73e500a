"""Training on a GPU, without one: every tensor of a step is on its device, and no step waits for it.

On the device 'meta' nothing is computed, but each operation knows where its tensors are, and whatever would have to
read a number back fails.
"""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('numba', reason='the synthetic world is drawn with numba')
pytest.importorskip('onnx')
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cliff_ros.body import load_body, tensors
from cliff_ros.cliff.embedded import EmbeddedCliff, KeypointEncoder
from cliff_ros.cliff.lifting import NUM_FEATURES, LiftingRegressor
from cliff_ros.training import detector, keypoints, lifting_stage, skeletons
from cliff_ros.training.augment import augment, recolor
from cliff_ros.training.averaging import AveragedWeights
from cliff_ros.training.loop import descend
from cliff_ros.training.losses import Skeleton
from cliff_ros.training.pool import FIELDS, CropPool, pack

DEVICE = 'meta'


class OneDevice(TorchDispatchMode):
    """Fails where an operation gets tensors of the device together with ones of the CPU, as a GPU would, and where it
    copies between them."""

    def __init__(self, copies: bool = False) -> None:
        super().__init__()
        self.copies = copies

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, torch.Tensor)]
        kinds = {tensor.device.type for tensor in found}
        name = str(function)
        if len(kinds) > 1 and not (self.copies and name.startswith('aten.copy_')):
            raise AssertionError(f'{name} of tensors on {sorted(kinds)}: {[tuple(t.shape) for t in found]}')
        result = function(*args, **(kwargs or {}))
        if name.startswith('aten._to_copy') and not self.copies and result.device.type not in kinds:
            raise AssertionError(f'{name} from {kinds} to {result.device}: the program waits for it')
        return result


def there(module: nn.Module) -> nn.Module:
    """A copy on the device."""
    module = copy.deepcopy(module)
    for part in module.modules():
        for store in (part._parameters, part._buffers):
            for name, value in store.items():
                if value is not None:
                    new = torch.empty(value.shape, dtype=value.dtype, device=DEVICE)
                    store[name] = nn.Parameter(new) if isinstance(value, nn.Parameter) else new
    return module


@pytest.fixture(scope='module')
def skeleton():
    return there(Skeleton(load_body()))


@pytest.fixture(autouse=True)
def constants(skeleton):
    """All that is made once is there already when a step begins."""
    tensors.forget()
    yield
    tensors.forget()


def truth(count: int) -> dict:
    return {name: torch.empty(count, *shape, device=DEVICE) for name, shape in FIELDS.items()}


def images(count: int, height: int = 128, width: int = 96):
    return torch.empty(count, height, width, 3, dtype=torch.uint8, device=DEVICE)


def twice(function):
    """The first time constants go to the device; the second time nothing may."""
    with OneDevice(copies=True):
        function()
    with OneDevice():
        return function()


def test_a_mistake_would_be_found():
    with OneDevice(), pytest.raises(AssertionError, match='cpu'):
        torch.empty(3, device=DEVICE) + torch.ones(3)
    with OneDevice(), pytest.raises(AssertionError, match='waits'):
        torch.ones(3).to(DEVICE)
    with OneDevice(), pytest.raises(RuntimeError):
        torch.empty(3, device=DEVICE).sum().item()


def test_a_step_of_the_encoder():
    encoder = there(KeypointEncoder((8, 16, 24, 32, 48), 32, (1, 1, 2, 1)))
    average = AveragedWeights(encoder)

    def train():
        loss, parts = keypoints.loss_on(encoder, images(8), truth(8))
        descend(loss, torch.optim.SGD(encoder.parameters(), 0.1), list(encoder.parameters()))
        average.update_parameters(encoder)
        return loss, parts

    loss, parts = twice(train)
    assert loss.device.type == DEVICE and all(part.device.type == DEVICE for part in parts.values())
    assert all(p.grad is not None and p.grad.device.type == DEVICE for p in encoder.parameters())


def test_steps_of_the_regressor(skeleton):
    lifting, sampler = there(LiftingRegressor(64, 1, 32)), sampler_on(skeleton)

    def train():
        seen, people, _ = sampler.candidates(16)
        features, labels = skeletons._seen(seen, people, skeleton)
        loss, _ = skeletons.losses_of_tries(lifting, features, labels, skeleton)
        real = torch.empty(8, NUM_FEATURES, device=DEVICE)
        on_crops, _ = skeletons.losses_of_tries(lifting, real, truth(8), skeleton, lifting_stage._on_crops)
        descend(loss + on_crops, torch.optim.SGD(lifting.parameters(), 0.1), list(lifting.parameters()))

    twice(train)
    assert all(p.grad is not None for p in lifting.parameters())


def sampler_on(skeleton) -> skeletons.SkeletonSampler:
    """A sampler that thinks it is on the device; 'meta' has no generators."""
    sampler = skeletons.SkeletonSampler(Skeleton(load_body()), pool=50)
    for name, value in vars(sampler).items():
        if isinstance(value, torch.Tensor):
            setattr(sampler, name, value.to(DEVICE))
    sampler.skeleton, sampler.device, sampler.generator = skeleton, torch.device(DEVICE), None
    return sampler


def test_looks_of_the_finished_encoder():
    model = there(EmbeddedCliff(dict(widths=(8, 16, 24, 32, 48), middle=32, blocks=(1, 1, 1, 1)))).eval()

    def look():
        with torch.no_grad():
            x, labels = augment(images(4), truth(4), turns=False, parts=0.5)
            straight, turned = model.encoder.both_ways(x)
            model.regressor.both_ways(
                model.encoder.features(straight), turned.overview, model.bbox_info(labels['location'])
            )

    twice(look)


def test_a_step_of_the_detector():
    network = there(detector.PersonDetector((8, 16, 24, 32)))

    def train():
        loss = detector.loss_on(network, images(4, 96, 128), torch.empty(4, 12, 5, device=DEVICE))
        descend(loss, torch.optim.SGD(network.parameters(), 0.1), list(network.parameters()))

    twice(train)
    assert all(p.grad is not None for p in network.parameters())


def test_the_pool_hands_out_what_is_on_its_device(skeleton):
    import numpy as np

    from cliff_ros.synthetic.crops import LABEL

    pool, rows = CropPool(skeleton, DEVICE, 64, block=16), torch.from_numpy(pack(np.zeros(40, LABEL)))
    with OneDevice(copies=True):
        pool.add(torch.zeros(40, 128, 96, 3, dtype=torch.uint8), rows)
    with OneDevice():
        crops, labels = pool.batch(12)
    assert len(pool) == 40 and crops.shape == (12, 128, 96, 3)
    assert {value.device.type for value in (crops, *labels.values())} == {DEVICE}


def test_changed_pictures_stay_where_they_are():
    twice(lambda: recolor(torch.empty(4, 3, 96, 128, device=DEVICE), 1.3))
