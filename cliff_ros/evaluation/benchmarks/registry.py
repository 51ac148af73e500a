"""The benchmarks that ``cliff evaluate --root`` knows: where their labels are, and how they are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cliff_ros.datasets.cameras import NO_CAMERAS, Cameras
from cliff_ros.errors import InputError

if TYPE_CHECKING:
    from cliff_ros.datasets.sample import Sample

BOXES = ('joints', 'body', 'keypoints', 'file', 'detector')
FOCALS = ('truth', 'diagonal', 'sum')
OnDamage = Callable[[InputError], None] | None


class Labels(Protocol):
    """People by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@dataclass(frozen=True)
class Benchmark:
    """text: what it is. protocols: names in `PROTOCOLS`, the published one first. boxes, focal: the defaults, which
    follow the paper (docs/evaluation.md). open: (root, split, cameras, on_damage) -> labels. mesh_joints: SMPL's joints
    are regressed from the posed mesh on both sides, where the truth is SMPL-X's; they are some millimeters beside those
    of the kinematic tree."""

    name: str
    text: str
    protocols: tuple[str, ...]
    boxes: str
    focal: str
    open: Callable[[Path, str, Cameras, OnDamage], Labels]
    split: str = ''
    mesh_joints: bool = False


class Joined:
    """Several labels one after the other."""

    def __init__(self, parts: Sequence[Labels]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: int) -> Sample:
        for part in self.parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError(index)


def _threedpw(root: Path, split: str, cameras: Cameras, on_damage: OnDamage) -> Labels:
    from cliff_ros.datasets.threedpw import ThreeDPW

    return ThreeDPW(root / 'sequenceFiles' / split, root / 'imageFiles', 0, cameras, on_damage)


def _human36m(protocol: int) -> Callable[[Path, str, Cameras, OnDamage], Labels]:
    def open_it(root: Path, split: str, cameras: Cameras, on_damage: OnDamage) -> Labels:
        from cliff_ros.datasets.human36m import Human36M

        return Human36M(root, protocol, cameras)

    return open_it


def _emdb(part: int) -> Callable[[Path, str, Cameras, OnDamage], Labels]:
    def open_it(root: Path, split: str, cameras: Cameras, on_damage: OnDamage) -> Labels:
        from cliff_ros.datasets.emdb import Emdb

        return Emdb(root, part, on_damage)

    return open_it


def _agora(root: Path, split: str, cameras: Cameras, on_damage: OnDamage) -> Labels:
    from cliff_ros.datasets.agora import Agora

    return Agora(root, on_damage)


def _bedlam(root: Path, split: str, cameras: Cameras, on_damage: OnDamage) -> Labels:
    from cliff_ros.datasets.bedlam import in_root

    return Joined(in_root(root, cameras))


def _rich(root: Path, split: str, cameras: Cameras, on_damage: OnDamage) -> Labels:
    from cliff_ros.datasets.bedlam import Parsed

    labels = root / f'rich_{split}.npz'
    if not labels.is_file():
        raise InputError(f"there is no '{labels}': get BEDLAM's evaluation labels, and put RICH's images beside them")
    return Parsed(labels, root, 0, cameras)


def _coco(root: Path, split: str, cameras: Cameras, on_damage: OnDamage) -> Labels:
    from cliff_ros.datasets.coco import CocoKeypoints

    return CocoKeypoints(root / 'annotations' / f'person_keypoints_{split}.json', root / split, 0, cameras)


_SPIN, _HIP = ('14 joints',), ('mid-hip',)
BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark('3dpw', '3DPW, outdoors', (*_SPIN, 'challenge'), 'joints', 'truth', _threedpw, 'test'),
        Benchmark('h36m-p1', 'Human3.6M, protocol 1', _SPIN, 'file', 'truth', _human36m(1)),
        Benchmark('h36m-p2', 'Human3.6M, protocol 2', _SPIN, 'file', 'truth', _human36m(2)),
        Benchmark('emdb1', 'EMDB 1, by telephone', ('emdb',), 'file', 'truth', _emdb(1)),
        Benchmark('emdb2', 'EMDB 2, long walks', ('emdb',), 'file', 'truth', _emdb(2)),
        Benchmark('agora', 'AGORA, rendered crowds (validation)', _HIP, 'detector', 'sum', _agora),
        Benchmark('bedlam', "BEDLAM's labels", _HIP, 'file', 'truth', _bedlam, mesh_joints=True),
        Benchmark('rich', 'RICH', _HIP, 'file', 'diagonal', _rich, 'test', mesh_joints=True),
        Benchmark('coco', 'COCO, keypoints in the image only', ('2D',), 'file', 'diagonal', _coco, 'val2017'),
    )
}


def open_labels(
    name: str, root: Path, split: str = '', cameras: Cameras = NO_CAMERAS, on_damage: OnDamage = None
) -> Labels:
    """The labels of a benchmark in a folder that is laid out as its authors do."""
    benchmark = BENCHMARKS[name]
    if not root.is_dir():
        raise InputError(f"there is no folder '{root}': give as --root the folder into which {name} was unpacked")
    return benchmark.open(root, split or benchmark.split, cameras, on_damage)
