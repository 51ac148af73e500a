"""The pipeline as the node's parameters want it."""

from __future__ import annotations

import numpy as np

from cliff_ros.engine.build_plan import Progress
from cliff_ros.pipeline import Pipeline
from cliff_ros.ros.detections import detections_type
from cliff_ros.ros.settings import CliffSettings

_WARM_UP_SIZE = 640, 480


def load_pipeline(settings: CliffSettings, progress: Progress | None = None) -> Pipeline:
    """Load everything and run it once: the first image must not pay for what is set up on first use."""
    if settings.detector == 'topic':
        detections_type()   # better to fail here than when images come
    pipeline = Pipeline(
        model=settings.model, body=settings.body, engine=settings.engine,
        detector='none' if settings.detector == 'topic' else settings.detector,
        detection_threshold=settings.score_threshold, presence_threshold=settings.presence_threshold,
        min_hits=settings.min_hits, refine_boxes=settings.refine_boxes, smoothing=settings.smoothing,
        max_people=settings.max_people, detection_interval=settings.detection_interval, coast=settings.coast,
        upright=settings.upright, threads=settings.num_threads, progress=progress)
    spec, width, height = pipeline.engine.spec, *_WARM_UP_SIZE
    pipeline.engine(np.zeros((1, spec.height, spec.width, 3), np.uint8), np.array([[0, 0, 1]], np.float32))
    if settings.detector != 'topic':
        pipeline.detector(np.zeros((height, width, 3), np.uint8))
    return pipeline


def tune_pipeline(pipeline: Pipeline, settings: CliffSettings) -> None:
    """Apply the parameters that take effect at once. In the thread that runs the pipeline."""
    pipeline.max_people, pipeline.detection_interval = settings.max_people, settings.detection_interval
    pipeline.coast, pipeline.smoothing = settings.coast, settings.smoothing
    pipeline.min_hits = settings.min_hits
    pipeline.presence_threshold, pipeline.refine_boxes = settings.presence_threshold, settings.refine_boxes
    if hasattr(pipeline.detector, 'threshold'):
        pipeline.detector.threshold = settings.score_threshold
