"""The pipeline as the node's parameters want it."""

from __future__ import annotations

import numpy as np

from cliff_ros.engine.build_plan import Progress
from cliff_ros.pipeline import Pipeline
from cliff_ros.ros.inputs.detections import detections_type
from cliff_ros.ros.runtime.settings import CliffSettings

_WARM_UP_SIZE = 640, 480


def load_pipeline(settings: CliffSettings, progress: Progress | None = None) -> Pipeline:
    """Load everything and run it once: the first image must not pay for what is set up on first use."""
    if settings.detector == 'topic':
        detections_type()  # better to fail here than when images come
    pipeline = Pipeline(
        model=settings.model,
        body=settings.body,
        engine=settings.engine,
        detector='none' if settings.detector == 'topic' else settings.detector,
        threads=settings.num_threads,
        progress=progress,
        options=settings.pipeline_options(),
    )
    spec, width, height = pipeline.engine.spec, *_WARM_UP_SIZE
    pipeline.engine(np.zeros((1, spec.height, spec.width, 3), np.uint8), np.array([[0, 0, 1]], np.float32))
    if settings.detector != 'topic':
        pipeline.detector(np.zeros((height, width, 3), np.uint8))
    return pipeline
