"""``cliff build-engine``: TensorRT's minutes of building, spent before the robot starts."""

from __future__ import annotations

import argparse
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from cliff_ros.errors import InputError, MissingExtra
from cliff_ros.files import make_folder, read_image, unwritable
from cliff_ros.graph.metadata import ENGINE_SUFFIX, GraphMetadata
from cliff_ros.graph.precision import CALIBRATION_CROPS, PRECISIONS, Calibration

SECONDS_BETWEEN = 0.5 if sys.stderr.isatty() else 10.0
PICTURES = ('.png', '.jpg', '.jpeg', '.bmp')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``cliff build-engine``."""
    parser.add_argument(
        '--model', default='embedded', metavar='GRAPH', help="a runtime graph (.onnx), or 'embedded' (default)"
    )
    parser.add_argument(
        '--max-people',
        type=int,
        default=32,
        metavar='N',
        help='most people in an image (default: %(default)s, as the node)',
    )
    parser.add_argument(
        '--precision',
        default='fp16',
        choices=PRECISIONS,
        help="of the encoder's trunk; all else is fp32 (default: %(default)s)",
    )
    parser.add_argument(
        '--calibration',
        default='rendered',
        metavar='WHAT',
        help='for int8: a folder of pictures, each cut to one person as the network sees them, or '
        "'rendered' (default): people drawn by cliff_ros",
    )
    parser.add_argument(
        '--output',
        type=Path,
        metavar='FILE',
        help=f'also write the engine to *{ENGINE_SUFFIX}, to be given as the model; without it, it is '
        'put where the node looks for it',
    )


def run(args: argparse.Namespace) -> int:
    """Build a TensorRT engine from a runtime graph, into the cache or, with --output, into a file too; 0.

    MissingExtra without TensorRT, CudaError without a GPU, ModelError where TensorRT cannot build the graph.
    """
    if args.output and args.output.suffix != ENGINE_SUFFIX:
        raise InputError(f"FILE is '{args.output}': name it *{ENGINE_SUFFIX}")
    if args.max_people < 1:
        raise InputError('--max-people must be at least 1')
    if args.precision == 'int8' and not args.output:
        raise InputError('an int8 engine is one of many, as calibrated: say with --output where to write it')
    from cliff_ros.engine.trial import check_graph
    from cliff_ros.graph.metadata import find_graph, read_metadata
    from cliff_ros.graph.onnx_file import OnnxFile

    path = find_graph(args.model)
    check_graph(path)
    metadata = read_metadata(OnnxFile(path), path)
    if find_spec('tensorrt') is None:
        raise MissingExtra('Building an engine', 'tensorrt')
    from cliff_ros.engine import cache
    from cliff_ros.engine.tensorrt_engine import TensorRTEngine

    with _Bar() as bar:
        calibration = calibration_crops(args.calibration, metadata) if args.precision == 'int8' else None
        engine = TensorRTEngine(path, args.max_people, bar, 'asked for', args.precision, calibration)
    print(f'{engine.name} for {args.model}, up to {args.max_people} people')
    if args.output:
        make_folder(args.output.parent)
        try:
            cache.write(args.output, engine.built)
        except OSError as error:
            raise unwritable(args.output, error) from error
        args.output.chmod(0o644)  # for whoever runs the node in the image this goes into
        print(f'written: {args.output}')
    return 0


def calibration_crops(source: str, metadata: GraphMetadata) -> Calibration:
    """Crops (N, h, w, 3) and location (N, 3) to calibrate INT8 with."""
    import numpy as np

    height, width = metadata.spec.height, metadata.spec.width
    if source == 'rendered':
        from cliff_ros.synthetic.crops import generate

        crops, labels = generate(0, CALIBRATION_CROPS, num_backgrounds=32, size=(height, width))
        return Calibration(crops, np.ascontiguousarray(labels['location']))
    import cv2

    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise InputError(f"--calibration is '{source}': give a folder of pictures, or 'rendered'")
    pictures = [
        read_image(file, cv2.IMREAD_COLOR) for file in sorted(folder.iterdir()) if file.suffix.lower() in PICTURES
    ]
    cut = [
        cv2.cvtColor(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
        for picture in pictures
        if picture is not None
    ]
    if not cut:
        raise InputError(f"there is no picture ({', '.join(PICTURES)}) in '{folder}': give crops of single people")
    # The location goes past the trunk that is calibrated.
    return Calibration(np.stack(cut), np.tile(np.array([0, 0, 0.5], np.float32), (len(cut), 1)))


class _Bar:
    """Progress as a bar; tells what is being done."""

    def __enter__(self) -> _Bar:
        from tqdm import tqdm

        self._bar = tqdm(total=1.0, bar_format='{desc} {percentage:3.0f}% |{bar}| {elapsed}')
        self._drawn = -SECONDS_BETWEEN
        return self

    def __call__(self, done: float, what: str) -> None:
        if time.monotonic() - self._drawn >= SECONDS_BETWEEN:
            self._drawn = time.monotonic()
            self._bar.set_description_str(what, refresh=False)
            self._bar.n = done
            self._bar.refresh()

    def __exit__(self, *_) -> None:
        self._bar.close()
