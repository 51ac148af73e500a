"""What a network costs in arithmetic and memory traffic, and how fast that could be on a device at best.

    python -m bench.cost

Needs the extra 'torch'. Prints the table of docs/performance.md for NVIDIA Jetson Orin, which is derived, not
measured.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from bench.networks import random_resnet50
from bench.tables import table
from cliff_ros.body import load_body


@dataclass(frozen=True)
class Device:
    """Peaks: dense half-precision arithmetic [FLOP/s] and memory bandwidth [bytes/s]."""

    name: str
    flops: float
    bandwidth: float


# NVIDIA's data sheets. They state INT8 with sparsity; dense half precision is a quarter of that on Ampere.
ORINS = (
    Device('Orin Nano 8 GB (15 W)', 40e12 / 4, 68e9),
    Device('Orin NX 16 GB (25 W)', 60e12 / 4, 102e9),
    Device('AGX Orin 64 GB (60 W)', 170e12 / 4, 205e9),
)
# Networks of this size at batch 1 to 4 reach about this share of a GPU's peaks.
USUAL_SHARE = 0.3
HALF = 2  # [bytes]


@dataclass(frozen=True)
class Cost:
    """For a batch: floating-point operations, numbers in the weights, and numbers written by its layers."""

    flops: float
    weights: float
    activations: float

    @property
    def bytes(self) -> float:
        """Traffic in half precision: weights once, each activation written and read."""
        return HALF * (self.weights + 2 * self.activations)

    def floor(self, device: Device) -> float:
        """The least time a device needs [s]: arithmetic and traffic at their peaks, at the same time."""
        return max(self.flops / device.flops, self.bytes / device.bandwidth)


def cost(graph: str | Path, people: int) -> Cost:
    """Of a runtime graph (network, regressor, body) for a number of people, counted while PyTorch runs it."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from cliff_ros.engine.torch_engine import load

    module, metadata = load(graph, load_body())
    height, width = metadata.spec.height, metadata.spec.width
    sizes: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output: sizes.append(output.numel()))
        for layer in module.modules()
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear))
    ]
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        module(torch.zeros(people, height, width, 3, dtype=torch.uint8), torch.tensor([[0, 0, 0.5]]).expand(people, 3))
    for hook in hooks:
        hook.remove()
    weights = sum(parameter.numel() for parameter in module.parameters())
    return Cost(float(counter.get_total_flops()), float(weights), float(sum(sizes)))


def orins(networks: dict[str, str | Path]) -> str:
    """The table of what to expect on Jetson Orin, for the graphs by their names."""
    rows = []
    for name, graph in networks.items():
        for people in (1, 4):
            needed = cost(graph, people)
            times = [
                f'{1e3 * needed.floor(device):.2f} / {1e3 * needed.floor(device) / USUAL_SHARE:.1f}' for device in ORINS
            ]
            rows.append([f'{name}, {people}', f'{needed.flops / 1e9:.2f}', f'{needed.bytes / 1e6:.0f}', *times])
    return table(['network, people', 'GFLOP', 'MB', *(device.name for device in ORINS)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--output', type=Path, default=Path('out/bench'), metavar='DIR', help='for the ResNet-50')
    args = parser.parse_args()
    _, resnet50 = random_resnet50(args.output / 'networks')
    print(orins({'embedded': 'embedded', 'ResNet-50': resnet50}))


if __name__ == '__main__':
    main()
