"""``cliff view``: people in a browser."""

from __future__ import annotations

import argparse
import os


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``cliff view``."""
    from cliff_ros import options
    from cliff_ros.engine import ENGINES
    from cliff_ros.render import privacy
    from cliff_ros.view.server import LOCALHOST, PORT

    parser.add_argument(
        'source', nargs='*', default=['synthetic'],
        help='video file, folder of images, bag, device (/dev/video0 or 0), synthetic[:SEED] (default), or '
        'ros[:/NODE]: what a node finds, by default the first that is there; of several the page lets one choose',
    )  # fmt: skip
    parser.add_argument('--host', default=LOCALHOST, help=f'address to listen on (default: {LOCALHOST}, this machine)')
    parser.add_argument('--port', type=int, default=PORT, help=f'(default: {PORT}, or the next that is free)')
    parser.add_argument(
        '--token', default=os.environ.get('CLIFF_VIEW_TOKEN', ''),
        help='what visitors must bring, also from CLIFF_VIEW_TOKEN; one is made where --host is not this machine',
    )  # fmt: skip
    privacy.add_argument(parser)
    parser.add_argument('--width', type=int, default=960, help='of the picture in the page, pixels (default: 960)')
    parser.add_argument('--rate', type=float, default=30.0, help='most images a second that are shown (default: 30)')
    parser.add_argument('--once', action='store_true', help='end when the source ends, instead of playing it again')
    parser.add_argument('--camera', metavar='YAML', help='calibration of the images; without it distances are a guess')
    parser.add_argument('--fps', type=float, help='frame rate of a folder, or to override what a file states')
    parser.add_argument('--model', default='embedded', help="'embedded' (default) or a runtime graph .onnx")
    parser.add_argument('--body', default='embedded', help="'embedded' (default) or an SMPL file")
    parser.add_argument('--engine', default='auto', choices=ENGINES)
    parser.add_argument('--detector', default='embedded', help="'embedded' (default) or a detector .onnx")
    options.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Serve the page and play all sources into it until they end or Ctrl-C; 0 either way."""
    from cliff_ros.errors import InputError
    from cliff_ros.view.viewer import Viewer

    if not (args.rate > 0 and args.width >= 64):
        raise InputError('--rate must be above zero and --width at least 64.')
    with Viewer(
        args.host, args.port, args.token, sources=args.source, privacy=args.privacy, width=args.width, rate=args.rate
    ) as viewer:
        print(f'Look at  {viewer.url}', flush=True)
        viewer.say('Loading the network ...')
        cameras = []
        try:
            for number, source in enumerate(args.source):
                cameras.append(_open(args, source, number))
            viewer.say('')
            _play(cameras, viewer)
        except KeyboardInterrupt:  # which is how looking ends
            pass
        finally:
            for camera in cameras:
                camera.close()
    return 0


def _open(args: argparse.Namespace, source: str, number: int):
    kind, _, name = source.partition(':')
    if kind == 'ros':
        return _node(name, args.body, number)
    from cliff_ros import options
    from cliff_ros.commands.open_input import open_input
    from cliff_ros.pipeline import Pipeline
    from cliff_ros.view.player import Player

    opened = open_input(source, args.camera, args.fps, loop=not args.once)
    pipeline = Pipeline(args.model, args.body, args.engine, args.detector, options=options.from_arguments(args))
    return Player(opened, pipeline, number)


def _node(name: str, body: str, number: int):
    from cliff_ros.errors import InputError

    try:
        from cliff_ros.ros.watching import Watcher
    except ImportError as error:
        raise InputError(
            f'Looking at a node needs ROS 2 and our messages ({error}): source your workspace; '
            "'cliff doctor' tells more."
        ) from error
    return Watcher(name, body, number)


def _play(cameras: list, viewer) -> None:
    while True:
        chosen = viewer.control.source
        if not cameras[chosen].play(viewer):
            viewer.say('The source has ended.')
            return
        viewer.clear()
