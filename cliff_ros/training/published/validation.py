"""How good a network is during training: the figures of cliff_ros.evaluation, on crops whose boxes are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cliff_ros.crop.translation import full_translation
from cliff_ros.evaluation import metrics
from cliff_ros.evaluation.regressed import about_pelvis, h36m_joints, h36m_regressor
from cliff_ros.training.data import VALIDATION_SHARD
from cliff_ros.training.published.batches import collate
from cliff_ros.training.published.config import DataSource, TrainingConfig
from cliff_ros.training.published.crop_sources import Bodies, Photographs, Rendered, Source, open_source, render_missing
from cliff_ros.training.published.networks import Trainee
from cliff_ros.training.published.objective import Keypoints, residual

_BATCH = 64


class ValidationSet:
    """Some people of one source, always the same, seen as they are: no augmentation."""

    def __init__(self, source: DataSource, config: TrainingConfig, spec, bodies: Bodies) -> None:
        samples = config.validation.samples
        if source.kind == 'synthetic':
            folder = Path(config.output) / f'validation_{spec.height}x{spec.width}_{samples}'
            people: Source = Rendered(
                render_missing(folder, [VALIDATION_SHARD], samples, spec, 1), spec, bodies.neutral
            )
        else:
            people = open_source(source, config, spec, bodies)
        count = min(samples, len(people))
        self.people, self.pick = people, np.linspace(0, len(people) - 1, count).round().astype(int).tolist()
        # 3DPW's figure is of joints regressed from the mesh: validation reports the one that is published.
        self.bodies = bodies if source.kind == '3dpw' else None
        self.regressor = h36m_regressor(bodies.neutral) if source.kind == '3dpw' else None

    @torch.no_grad()
    def measure(self, network: Trainee, keypoints: Keypoints, device: torch.device) -> dict[str, float]:
        """Means and medians over those people of whom the truth of a figure is known."""
        found: dict[str, list[np.ndarray]] = {}
        for begin in range(0, len(self.pick), _BATCH):
            images, truth = collate(
                [self.people.crop(i, np.random.default_rng(0), None) for i in self.pick[begin : begin + _BATCH]]
            )
            truth = {name: value.to(device) for name, value in truth.items()}
            rotations, betas, camera = network(images.to(device), truth['location'])
            points = keypoints(betas, rotations)
            off = residual(points, camera, truth)
            joints = points[:, :24] + full_translation(camera, truth['location'])[:, None]
            errors = _errors(rotations, joints, off, truth)
            if self.bodies is not None:
                errors |= self._published(self.pick[begin : begin + _BATCH], rotations, betas, truth['rotations'])
            for name, values in errors.items():
                found.setdefault(name, []).append(values)
        joined = {name: np.concatenate(values) for name, values in found.items()}
        return {
            name: float(np.median(v) if name.endswith('median') else v.mean()) for name, v in joined.items() if len(v)
        }

    def _published(self, which: list[int], rotations, betas, true_rotations) -> dict[str, np.ndarray]:
        """3DPW's published errors (SPIN's protocol) of people by number, in the place of those of SMPL's 24 joints."""
        bodies, people, regressor = self.bodies, self.people, self.regressor
        assert bodies is not None and isinstance(people, Photographs) and regressor is not None
        true = np.empty((len(which), *bodies.neutral.v_template.shape), np.float32)
        for row, index in enumerate(which):
            sample = people.samples[index]
            turned = true_rotations[row : row + 1].cpu().numpy()
            true[row] = bodies[sample.gender](sample.betas[None], turned, np.zeros((1, 3)))[1][0]
        predicted = bodies.neutral(betas.cpu().numpy(), rotations.cpu().numpy(), np.zeros((len(which), 3)))[1]
        (joints, pelvis), (true_joints, true_pelvis) = (
            about_pelvis(h36m_joints(side, regressor)) for side in (predicted, true)
        )
        return {
            'mpjpe_mm': metrics.mpjpe(joints, true_joints, None),
            'pa_mpjpe_mm': metrics.pa_mpjpe(joints, true_joints),
            'pve_mm': metrics.mpvpe(predicted, true, pelvis, true_pelvis),
        }


def _errors(rotations, joints, off, truth) -> dict[str, np.ndarray]:
    """Errors per person, of those of whom the truth is known."""
    rotations, joints, off = (value.cpu().numpy() for value in (rotations, joints, off))
    truth = {name: value.cpu().numpy() for name, value in truth.items()}
    whole = truth['joints_known'].all(1)
    placed = whole & (truth['placed'] > 0)
    turned, projected = truth['rotations_known'][:, 0] > 0, truth['confidence'].any(1)
    distance = np.linalg.norm(off, axis=-1)
    weight = truth['confidence'][projected]
    return {
        'mpjpe_mm': metrics.mpjpe(joints[whole], truth['joints'][whole]),
        'pa_mpjpe_mm': metrics.pa_mpjpe(joints[whole], truth['joints'][whole]),
        'root_rotation_deg_median': metrics.rotation_error(rotations[turned, 0], truth['rotations'][turned, 0]),
        'reprojection_crop_percent_median': 100 * (distance[projected] * weight).sum(1) / weight.sum(1),
        'translation_m_median': metrics.translation_error(joints[placed, 0], truth['joints'][placed, 0]),
    }
