"""The parameters of the node ``cliff``."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from cliff_ros import options
from cliff_ros.engine import ENGINES
from cliff_ros.options import PipelineOptions
from cliff_ros.render.privacy import MODES, OFF
from cliff_ros.ros.inputs.images import MAX_PIXELS
from cliff_ros.ros.inputs.offers import RELIABILITIES
from cliff_ros.ros.runtime.complaints import shortened
from cliff_ros.ros.runtime.parameters import When, parameter


def _frame_prefix(value: str) -> str | None:
    if value.startswith('/') or re.search(r'\s', value):
        return f"is no beginning of a tf frame's name ({shortened(value)}): leave out the leading / and any blanks"
    return None


def _detector(value: str) -> str | None:
    return "cannot be 'none': choose 'topic' for boxes from elsewhere" if value in ('', 'none') else None


def option(name: str, default: Any = None, when: When = When.LIVE) -> Any:
    """A parameter that is an option of the pipeline, whose default, bounds and description it takes."""
    own_default, spec = options.SPECS[name]
    return parameter(
        own_default if default is None else default, spec.description, when, range=spec.range, choices=spec.choices
    )


@dataclass(frozen=True)
class CliffSettings:
    """The parameters by their ROS names: what each does, its unit and its range are its description."""

    # what runs
    model: str = parameter('embedded', "network: 'embedded', or a runtime graph (.onnx) made by `cliff export`")
    body: str = parameter('embedded', "body model: 'embedded', or the path of an SMPL file; the one of the network")
    engine: str = parameter('auto', 'what runs the network: docs/engines.md', choices=ENGINES)
    num_threads: int = parameter(0, 'CPU threads of the networks; 0: as many as help', range=(0, 256))
    max_people: int = option('max_people')

    # who is in the image
    detector: str = parameter(
        'embedded',
        "'embedded', the path of a YOLO-like detector (.onnx), or 'topic': boxes come on the "
        'topic detections (vision_msgs/Detection2DArray)',
        check=_detector,
    )
    score_threshold: float = option('score_threshold', 0.3)  # a ROS parameter has a value: None is none
    presence_threshold: float = option('presence_threshold')
    min_hits: int = option('min_hits')
    refine_boxes: bool = option('refine_boxes')
    detection_interval: int = option('detection_interval')
    detections_class: str = parameter('', 'class_id of people on the topic detections; empty: every box is a person')
    detections_tolerance: float = parameter(
        0.005, 'largest difference of the stamps of boxes and image [s]', range=(0.0, 1.0)
    )
    detections_frame: str = parameter(
        '', "header.frame_id of boxes that belong to the image; empty: the image's own; boxes that have none are taken"
    )
    detections_normalized: bool = parameter(
        False, "boxes are fractions (0..1) of the image's width and height, not pixels"
    )

    # the camera
    image_transport: str = parameter(
        'raw', 'raw: sensor_msgs/Image, compressed: sensor_msgs/CompressedImage', choices=('raw', 'compressed')
    )
    max_image_pixels: int = parameter(
        MAX_PIXELS,
        'largest image that is worked on, width times height; a compressed one is judged before it is unpacked',
        range=(1, 1 << 30),
    )
    image_is_rectified: bool = parameter(False, 'the image is rectified (image_rect): CameraInfo.p describes it')
    uncalibrated_fallback: bool = parameter(
        False,
        'without calibration guess the focal length (image diagonal) instead of refusing images: '
        'distances will be wrong',
    )
    camera_info_timeout: float = parameter(3.0, 'how long to wait for CameraInfo [s]', range=(0.0, 3600.0))
    camera_info_max_age: float = parameter(
        0.0,
        'refuse images whose latest CameraInfo has a stamp further than this from theirs [s]; 0: no limit',
        range=(0.0, 86400.0),
    )
    upright: int = option('upright', when=When.SETUP)
    turn_beyond: float = option('turn_beyond')
    image_reliability: str = parameter(
        'auto',
        'auto: reliable delivery of images where all their publishers offer it, best effort otherwise; '
        'reliable or best_effort: always so',
        choices=RELIABILITIES,
    )

    # over time
    smoothing: bool = option('smoothing')
    coast: float = option('coast')

    # what comes out; ~/mesh, ~/skeleton and ~/overlay are made only while someone subscribes
    publish_tf: bool = parameter(True, 'publish the frame of every person on /tf')
    publish_joint_tf: bool = parameter(True, "publish the frames of every person's joints too")
    tf_prefix: str = parameter(
        'auto',
        "goes before smpl_<id> in names of frames, such as 'robot/'; auto: the node's namespace",
        check=_frame_prefix,
    )
    overlay_opacity: float = parameter(0.75, 'of the mesh on ~/overlay', When.LIVE, range=(0.0, 1.0))
    overlay_joints: bool = parameter(False, 'draw joints and bones on ~/overlay too', When.LIVE)
    privacy: str = parameter(
        OFF,
        'what is covered on ~/overlay, before it is published: off, faces, or people; nobody can change it later',
        When.START,
        choices=MODES,
    )

    # housekeeping
    diagnostics_rate: float = parameter(1.0, 'how often to publish /diagnostics [Hz]', When.START, range=(0.1, 10.0))
    watchdog_timeout: float = parameter(
        1.25, 'say what is missing when no image came for so long [s]', When.LIVE, range=(0.5, 3600.0)
    )
    autostart: bool = parameter(False, 'configure and activate without being asked', When.START)

    def pipeline_options(self) -> PipelineOptions:
        """How the pipeline finds and follows people, by these parameters."""
        return PipelineOptions(**{name: getattr(self, name) for name in OF_PIPELINE})


OF_PIPELINE = tuple(one.name for one in fields(CliffSettings) if one.name in options.NAMES)
