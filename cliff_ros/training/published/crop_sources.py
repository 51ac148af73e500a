"""Where crops with their truth come from: photographs with labels, rendered crops on disk, crops rendered on the fly.

A source gives (crop (h, w, 3) uint8 RGB, truth of dtype TRUTH) for a number; all that is random in it comes from the
generator it is handed, so that the same step sees the same crops, whoever prepares them.
"""

from __future__ import annotations

import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cached_property
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from tqdm import tqdm

from cliff_ros.body import NUM_JOINTS, BodyModel, load_body
from cliff_ros.camera import Camera
from cliff_ros.crop.views import CropSpec, View, crop, view_of
from cliff_ros.datasets.bedlam import Bedlam
from cliff_ros.datasets.cameras import Cameras
from cliff_ros.datasets.cliff_gt import CliffGT
from cliff_ros.datasets.sample import Sample, face_of, outline
from cliff_ros.datasets.threedpw import ThreeDPW
from cliff_ros.errors import InputError
from cliff_ros.evaluation.bodies import BodyFolder
from cliff_ros.files import read_image
from cliff_ros.people import Box
from cliff_ros.synthetic import crops
from cliff_ros.training.data import VALIDATION_SHARD, load_shard, render_shard, shard_path
from cliff_ros.training.published.augmentation import angle_of, box_of, change_pixels, rolled_pixels, rolled_view
from cliff_ros.training.published.config import Augmentation, DataSource, TrainingConfig
from cliff_ros.training.published.sample import TRUTH, mirrored, rolled

READERS = {'bedlam': Bedlam, 'cliff_gt': CliffGT, '3dpw': ThreeDPW}
_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_NEAREST = 0.05  # [m] points nearer to the camera, or behind it, are not in the image
_SMALLEST = 16.0  # [px] side of what is left of a box inside the image


class Source(Protocol):
    """Labeled crops by number. How many there are; 0 where there is no end."""

    def __len__(self) -> int: ...

    def crop(
        self, index: int, rng: np.random.Generator, augmentation: Augmentation | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Crop (h, w, 3) uint8 RGB and truth of dtype TRUTH; nothing is changed where augmentation is None."""
        ...


class Bodies:
    """The body of the network, and those that labels of men and women belong to."""

    def __init__(
        self,
        neutral: BodyModel,
        male: BodyModel | None = None,
        female: BodyModel | None = None,
        folder: BodyFolder | None = None,
    ) -> None:
        """folder: where bodies that are not given are looked for, and those of SMPL-X."""
        self.neutral = neutral  # the network's own
        self.by_gender: dict[str, BodyModel | None] = {'neutral': neutral, 'male': male, 'female': female}
        self.folder = folder

    @classmethod
    def of(cls, config: TrainingConfig) -> Bodies:
        """The bodies that a configuration names."""
        male, female = (load_body(file) if file else None for file in (config.body_male, config.body_female))
        return cls(
            load_body(config.body),
            male,
            female,
            folder=BodyFolder(Path(config.bodies).expanduser()) if config.bodies else None,
        )

    def smplx(self, gender: str) -> BodyModel | None:
        """SMPL-X's body, on SMPL's joints; None where nobody gave one."""
        return self.folder.body(gender, 'smplx') if self.folder and self.folder.has(gender, 'smplx') else None

    def __getitem__(self, gender: str) -> BodyModel:
        body = self.by_gender[gender]
        if body is None and self.folder and self.folder.has(gender):
            body = self.by_gender[gender] = self.folder.body(gender)
        if body is None:
            raise InputError(
                f"the labels have {gender} people, whose shape belongs to SMPL's {gender} body: give that "
                f"file as 'body_{gender}', or a folder that has it as 'bodies'"
            )
        return body


class Photographs:
    """People in images of a data set, cropped as at inference (`cliff_ros.crop.views`)."""

    def __init__(self, samples, spec: CropSpec, bodies: Bodies) -> None:
        self.samples, self.spec, self.bodies = samples, spec, bodies
        first = samples[0]
        if not first.image.is_file():
            raise InputError(
                f"there is no image '{first.image}': give as 'images' the folder that the names in the "
                'labels start from'
            )
        if np.isfinite(first.betas).all():
            bodies[first.gender]

    def __len__(self) -> int:
        return len(self.samples)

    def crop(
        self, index: int, rng: np.random.Generator, augmentation: Augmentation | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cut from its photograph, the truth in the frame of the crop's view. InputError where the image cannot be
        read, or the person is behind the camera or outside of the lens's view."""
        image, person = self.open(index)
        box = person.box
        if augmentation:
            box = box_of(box, person.keypoints, person.confidence, augmentation, rng)
        view = view_of(corner_box(box, self.spec), person.camera, self.spec)
        truth = person.truth(view)
        angle = angle_of(augmentation, rng) if augmentation else 0.0
        if angle:
            view, truth = rolled_view(view, angle), rolled(truth, angle)
        pixels = crop(image, person.camera, view, self.spec, order='bgr')
        if not augmentation:
            return pixels, truth
        if rng.random() < augmentation.flip:
            pixels, truth = pixels[:, ::-1], mirrored(truth)
        return change_pixels(augmentation)(pixels, rng), truth

    def open(self, index: int) -> tuple[np.ndarray, Person]:
        """The image (H, W, 3) BGR as its labels count pixels, and the person in its camera."""
        sample = self.samples[index]
        image = read_image(sample.image, cv2.IMREAD_COLOR)
        if image is None:
            raise InputError(f"cannot read the image '{sample.image}': get it again, or leave it out of the labels")
        if sample.turn:
            image = cv2.rotate(image, _TURNS[sample.turn])
        height, width = image.shape[:2]
        return image, Person(sample, sample.camera(width, height), self.bodies)


class Person:
    """A `Sample` in its camera: what is known, completed by the body where there is one."""

    def __init__(self, sample: Sample, camera: Camera, bodies: Bodies) -> None:
        self.camera = camera
        self.rotations, self.betas, self.translation = (
            np.array(value, np.float64) for value in (sample.rotations, sample.betas, sample.translation)
        )
        self.joints, self.placed, points, surface = sample.joints, False, None, None
        if np.isfinite(self.betas).all() and np.isfinite(self.rotations).all():
            body = bodies[sample.gender]
            if sample.extrinsics is not None:
                rest = body.rest_joints(self.betas[None])[0, 0]
                turn, shift = sample.extrinsics[:3, :3], sample.extrinsics[:3, 3]
                self.rotations[0] = turn @ self.rotations[0]
                self.translation = turn @ (self.translation + rest) + shift - rest
            self.placed = bool(np.isfinite(self.translation).all())
            points, surface = outline(
                body, self.betas, self.rotations, self.translation if self.placed else np.zeros(3)
            )
            self.joints = points[:NUM_JOINTS]
        elif sample.smplx_betas is not None and (smplx := bodies.smplx(sample.gender)):
            self._place_smplx(sample, smplx)
        if sample.gender != 'neutral':
            self.betas = np.full_like(self.betas, np.nan)  # another body's: joints and pose carry what they say
        self.keypoints, self.confidence = sample.keypoints, sample.confidence
        if not self.confidence.any() and self.placed and points is not None:
            self.keypoints = np.nan_to_num(camera.project(points))
            self.confidence = (points[:, 2] > _NEAREST).astype(float)
        self.box: np.ndarray = self._extents(surface, sample) if sample.box is None else sample.box

    def _place_smplx(self, sample: Sample, body: BodyModel) -> None:
        """Joints of SMPL-X's body, which are SMPL's but for the hands; its shape is nobody's here."""
        assert sample.smplx_betas is not None
        known = np.all(np.isfinite(self.rotations), axis=(1, 2))
        rotations = np.where(known[:, None, None], self.rotations, np.eye(3))
        self.placed = bool(np.isfinite(self.translation).all())
        betas, place = sample.smplx_betas[None, : body.num_betas], np.nan_to_num(self.translation)[None]
        joints = body.joints(betas, rotations[None], place)[0].astype(np.float64)
        self.joints = np.where(known[:, None], joints, np.nan)

    def _extents(self, surface: np.ndarray | None, sample: Sample) -> np.ndarray:
        """The box of what the image shows of the body."""
        if surface is None or not self.placed:
            raise InputError(f"nothing says where the person in '{sample.image}' is: labels need a box or a body")
        pixels = self.camera.project(surface[surface[:, 2] > _NEAREST])
        pixels = pixels[np.isfinite(pixels).all(1)]
        if not len(pixels):
            raise InputError(f"the person in '{sample.image}' is behind the camera: check translation and camera")
        low, high = pixels.min(0), pixels.max(0)
        size = np.array(self.camera.size) - 0.5
        inside = np.concatenate([np.maximum(low, -0.5), np.minimum(high, size)])
        return inside if (inside[2:] - inside[:2]).min() >= _SMALLEST else np.concatenate([low, high])

    def truth(self, view: View) -> np.ndarray:
        """What is known of the person, in a view."""
        truth = np.zeros((), TRUTH)
        turn, location = view.rotation, view.location
        rotations = self.rotations.copy()
        rotations[0] = turn @ rotations[0]
        for name, values in (('rotations', rotations), ('joints', self.joints @ turn.T), ('betas', self.betas)):
            known = np.isfinite(values).reshape(*values.shape[:1], -1).all(-1)
            truth[f'{name}_known'] = known.all() if name == 'betas' else known
            truth[name] = np.where(np.isfinite(values), values, 0)
        truth['placed'], truth['location'] = self.placed, location
        rays = self.camera.ray(self.keypoints) @ turn.T
        seen = (self.confidence > 0) & (rays[:, 2] > 1e-3)
        tangents = rays[:, :2] / np.where(seen, rays[:, 2], 1)[:, None]
        truth['keypoints'] = np.where(seen[:, None], (tangents - location[:2]) / location[2], 0)
        truth['confidence'] = np.where(seen, self.confidence, 0)
        return truth


def corner_box(box: np.ndarray, spec: CropSpec) -> Box:
    """A box as the crop's preprocessing counts it: the authors' counts from the first pixel's corner (CropSpec)."""
    return Box(box + 0.5 if spec.integer_rectangle else box)


class Rendered:
    """Crops of the synthetic world: of shards on disk, all in memory."""

    def __init__(self, paths: list[Path], spec: CropSpec, body: BodyModel) -> None:
        loaded = [load_shard(path) for path in paths]
        # the embedded recipe's shards have crops without anybody among them
        keep = [np.flatnonzero(labels['present'] > 0.5) for _, labels in loaded]
        self.images = [images for images, _ in loaded]
        self.labels = [labels for _, labels in loaded]
        self.index = np.concatenate([np.stack([np.full(len(k), i), k], 1) for i, k in enumerate(keep)])
        self.size, self.body = (spec.width, spec.height), body

    def __len__(self) -> int:
        return len(self.index)

    def crop(
        self, index: int, rng: np.random.Generator, augmentation: Augmentation | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of the crops that show somebody, counted through all shards; resized to what the network wants."""
        shard, row = self.index[index]
        return self._changed(self.images[shard][row], self.labels[shard][row], rng, augmentation)

    def _changed(
        self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator, augmentation: Augmentation | None
    ) -> tuple[np.ndarray, np.ndarray]:
        if image.shape[1::-1] != self.size:
            image = cv2.resize(image, self.size, interpolation=cv2.INTER_LINEAR)
        truth = truth_of_label(label, self.body)
        if not augmentation:
            return image, truth
        if angle := angle_of(augmentation, rng):
            image, truth = rolled_pixels(image, angle), rolled(truth, angle)
        if rng.random() < augmentation.flip:
            image, truth = image[:, ::-1], mirrored(truth)
        return change_pixels(augmentation)(image, rng, rendered=True), truth


class Rendering(Rendered):
    """Crops of the synthetic world, rendered when they are asked for; the number asked for plays no part."""

    def __init__(self, seed: int, spec: CropSpec, body: BodyModel) -> None:
        self.seed, self.spec, self.body = seed, spec, body
        self.size = (spec.width, spec.height)

    def __len__(self) -> int:
        return 0

    @cached_property
    def sampler(self) -> crops.CropSampler:
        """Made where it is used, in the process that prepares the crops."""
        from torch.utils.data import get_worker_info

        worker = get_worker_info()
        return crops.CropSampler(
            stream_seed(self.seed, worker.id if worker else 0), negatives=0.0, size=(self.spec.height, self.spec.width)
        )

    def crop(
        self, index: int, rng: np.random.Generator, augmentation: Augmentation | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The next crop of the sampler: asked twice for a number, it gives two crops."""
        return self._changed(*self.sampler.sample(), rng, augmentation)


def truth_of_label(label: np.ndarray, body: BodyModel) -> np.ndarray:
    """The truth of a rendered crop (`synthetic.crops.LABEL`), for a network of the given body."""
    embedded = load_body()
    truth = np.zeros((), TRUTH)
    truth['rotations'], truth['rotations_known'] = label['rotations'], 1
    if body.sha256 == embedded.sha256:  # shape coefficients mean nothing to another body; joints do
        truth['betas'], truth['betas_known'] = label['betas'], 1
    truth['joints'] = face_of(embedded).joints(
        label['betas'][None], label['rotations'][None], label['translation'][None]
    )[0]
    truth['joints_known'] = truth['placed'] = truth['confidence'] = 1
    truth['location'], truth['keypoints'] = label['location'], label['keypoints']
    return truth


def stream_seed(*parts: int) -> int:
    """A seed for `CropSampler` below those of held-out people, from numbers that say what it is for."""
    return zlib.crc32(np.array(parts, np.int64).tobytes()) % VALIDATION_SHARD


def render_missing(folder: Path, seeds: list[int], count: int, spec: CropSpec, workers: int) -> list[Path]:
    """Shards of so many rendered crops with those seeds; those that do not exist are rendered first."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [shard_path(folder, seed) for seed in seeds]
    todo = [seed for seed, path in zip(seeds, paths, strict=True) if not path.exists()]
    if todo:
        with ProcessPoolExecutor(max(1, min(workers, len(todo)))) as pool:
            jobs = [
                pool.submit(render_shard, folder, seed, count, size=(spec.height, spec.width), negatives=0.0)
                for seed in todo
            ]
            for job in tqdm(as_completed(jobs), total=len(jobs), desc='rendering', unit='shard'):
                job.result()
    return paths


def open_source(
    source: DataSource, config: TrainingConfig, spec: CropSpec, bodies: Bodies, process: int = 0, start: int = 0
) -> Source:
    """The source that an entry of the configuration describes.

    process, start: which process of how far a training asks; streams of rendered crops differ by them.
    """
    if source.kind != 'synthetic':
        reader = READERS[source.kind](
            Path(source.labels).expanduser(),
            Path(source.images).expanduser(),
            source.turn,
            Cameras.read(source.cameras, source.focal),
        )
        return Photographs(reader, spec, bodies)
    if source.shards:
        paths = render_missing(
            Path(source.shards).expanduser(),
            list(range(source.num_shards)),
            source.shard_size,
            spec,
            max(1, config.workers),
        )
        return Rendered(paths, spec, bodies.neutral)
    return Rendering(stream_seed(config.seed, process, start), spec, bodies.neutral)
