"""Which thresholds? Found against too many, and whether the network's presence means what it says.

    python -m bench.thresholds --output out/thresholds [--data shared/data --cache out/real/landmarks]

The networks see every image once; thresholds are then tried on what they said (`bench.candidates`). Rendered: crops,
stills, and sequences with and without people, all of seeds and textures that no training reaches. With --data also the
recordings of bench/real_clips.json whose landmarks `bench.referee` left in the cache. Leaves thresholds.json, table.md
and, where matplotlib is installed, thresholds.png (`bench/thresholds_figure.py` draws it from the JSON elsewhere).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from bench.agreement import OVERLAP, Labels, judge
from bench.candidates import Candidates, Finder, Thresholds, over_time, stills
from bench.tables import table
from cliff_ros import Frame
from cliff_ros.boxes import inside, iou
from cliff_ros.evaluation import metrics
from cliff_ros.evaluation.calibration import expected_calibration_error, reliability

SCORES = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)
PRESENCES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
HITS = (1, 2, 3, 4)
LENGTH = 60  # frames of a sequence
CROPS_SEED, STILLS_SEED, SEQUENCE_SEED = 960_001, 700, 3_000_000  # of evaluation, none of which training reaches
# frame, reported candidates -> people asked for, found, too many
Judge = Callable[[int, np.ndarray], tuple[int, int, int]]


@dataclass(frozen=True)
class Recorded:
    """Images seen by the networks, how each is judged, and their rate [1/s]; 0: independent stills. cuts: frames at
    which another recording begins."""

    images: list[Candidates]
    judge: Judge
    fps: float = 0.0
    cuts: frozenset[int] = frozenset()
    _known: dict[tuple[int, bytes], tuple[int, int, int]] = field(default_factory=dict)  # most thresholds report alike

    def point(self, thresholds: Thresholds) -> dict:
        """What thresholds would give: found (share of those asked for) and too many (a frame)."""
        kept = over_time(self.images, thresholds, self.fps, self.cuts) if self.fps else stills(self.images, thresholds)
        sums = np.array([self._judged(n, rows) for n, rows in enumerate(kept)]).reshape(-1, 3).sum(0)
        return asdict(thresholds) | {
            'found': float(sums[1] / sums[0]) if sums[0] else None,
            'too_many': float(sums[2] / max(len(self.images), 1)),
        }

    def _judged(self, n: int, rows: np.ndarray) -> tuple[int, int, int]:
        key = n, rows.tobytes()
        if key not in self._known:
            self._known[key] = self.judge(n, rows)
        return self._known[key]

    def curves(self, default: Thresholds) -> dict[str, list[dict]]:
        """Each threshold alone, then presence for each number of hits; of stills there is one hit."""
        presences = sorted({*PRESENCES, default.presence})
        made = {
            'score': [Thresholds(score, default.presence, default.hits) for score in sorted({*SCORES, default.score})]
        }
        for hits in HITS if self.fps else (1,):
            made[f'presence, {hits} hits'] = [Thresholds(default.score, presence, hits) for presence in presences]
        return {name: [self.point(thresholds) for thresholds in curve] for name, curve in made.items()}


def main() -> None:
    args = arguments().parse_args()
    logging.getLogger('cliff_ros.sources').setLevel(logging.ERROR)
    args.output.mkdir(parents=True, exist_ok=True)
    started, finder = time.monotonic(), Finder(args.model, args.detector)
    default = Thresholds(args.score, args.presence, args.hits)
    report = {
        'model': args.model,
        'detector': args.detector,
        'default': asdict(default),
        'calibration': {},
        'curves': {},
    }
    for name, everyday in (('crops, everyday', True), ('crops, wild', False)) if args.crops else ():
        report['calibration'][name] = calibration(*presence_of_crops(finder, args.crops, everyday))
        say(name, started)
    if args.stills:
        still, truth = rendered_stills(finder, args.stills)
        report['calibration']["stills, detector's boxes"] = calibration(*presence_of_boxes(still.images, truth))
        report['curves']['stills'] = still.curves(default)
        say('stills', started)
    for name, people in (('sequences', 3), ('empty rooms', 0)) if args.frames else ():
        report['curves'][name] = rendered_sequences(finder, args.frames, people).curves(default)
        say(name, started)
    real = []
    for name, clip, presence in recordings(finder, args):
        report['curves'][name] = clip.curves(default)
        real.append(presence)
        say(name, started)
    if real:
        report['calibration']["recordings, detector's boxes"] = calibration(
            *map(np.concatenate, zip(*real, strict=True))
        )
    report['seconds'] = time.monotonic() - started
    text = tables(report)
    (args.output / 'thresholds.json').write_text(json.dumps(report, indent=1) + '\n')
    (args.output / 'table.md').write_text(text + '\n')
    print(f'{text}\n\n{report["seconds"]:.0f} s; written: {args.output}')
    try:
        from bench.thresholds_figure import draw

        draw(report, args.output / 'thresholds.png')
    except ImportError:
        print('no picture: matplotlib is missing (bench/thresholds_figure.py draws it from thresholds.json)')


def say(name: str, started: float) -> None:
    print(f'{time.monotonic() - started:5.0f} s: {name}', flush=True)


def arguments() -> argparse.ArgumentParser:
    default, parser = Thresholds(), argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--output', type=Path, required=True)
    parser.add_argument('--model', default='embedded')
    parser.add_argument('--detector', default='embedded')
    parser.add_argument('--crops', type=int, default=1000, help='of each kind (default: 1000; 0: none)')
    parser.add_argument('--stills', type=int, default=200, help='(default: 200; 0: none)')
    parser.add_argument('--frames', type=int, default=180, help='of sequences, of each kind (default: 180; 0: none)')
    parser.add_argument('--data', type=Path, help='folder with the clips of bench/real_clips.json')
    parser.add_argument('--cache', type=Path, help='the landmarks that bench.referee left')
    parser.add_argument('--score', type=float, default=default.score, help='today (default: %(default)s)')
    parser.add_argument('--presence', type=float, default=default.presence, help='today (default: %(default)s)')
    parser.add_argument('--hits', type=int, default=default.hits, help='today (default: %(default)s)')
    return parser


def presence_of_crops(finder: Finder, count: int, everyday: bool) -> tuple[np.ndarray, np.ndarray]:
    """Presence (N,) of rendered crops, half of them without a person, and whether there is one (N,) bool."""
    from cliff_ros.synthetic.crops import generate

    spec = finder.engine.spec
    images, labels = generate(
        CROPS_SEED + everyday,
        count,
        size=(spec.height, spec.width),
        negatives=0.5,
        everyday=everyday,
        num_backgrounds=min(count, 200),
    )
    said = [
        finder.presence(finder.engine(images[i : i + 16], np.ascontiguousarray(labels['location'][i : i + 16]), False))
        for i in range(0, count, 16)
    ]
    return np.concatenate(said), labels['present'] > 0.5


def rendered_stills(finder: Finder, count: int) -> tuple[Recorded, list]:
    """Held-out stills, as `cliff evaluate` has them, seen by the networks; and the stills (without images)."""
    from cliff_ros.evaluation.synthetic import SyntheticScenes

    images, truth = [], []
    for still in SyntheticScenes(STILLS_SEED, count):
        images.append(finder(Frame(still.image, still.camera)))
        truth.append((np.array([person.box for person in still.people]).reshape(-1, 4), still.ignored))
    return Recorded(images, against_boxes(images, truth)), truth


def rendered_sequences(finder: Finder, frames: int, people: int) -> Recorded:
    """Rooms of at most `LENGTH` frames each, one after the other."""
    from cliff_ros.synthetic.sequence import Sequence

    images, truth, fps, length = [], [], 15.0, min(LENGTH, frames)
    for scene in range(max(1, round(frames / length))):
        sequence = Sequence(SEQUENCE_SEED + 10 * people + scene, 640, 480, fps, length / fps, people)
        for n in range(length):
            images.append(finder(Frame(sequence.image(n), sequence.camera)))
            truth.append((np.array([person.box for person in sequence.truth(n)]).reshape(-1, 4), np.zeros((0, 4))))
    return Recorded(images, against_boxes(images, truth), fps, frozenset(range(0, len(images), length)))


def recordings(finder: Finder, args: argparse.Namespace) -> Iterator[tuple[str, Recorded, tuple]]:
    """The real clips whose landmarks are at hand, and `presence_in_recording` of each."""
    if not (args.data and args.cache):
        return
    from bench.referee import CLIPS, camera_of, landmarks, open_source

    for name, entry in json.loads(CLIPS.read_text()).items():
        if name == 'about' or not (args.cache / f'{name}.npz').is_file():
            continue
        path = args.data / entry['file']
        camera, source = camera_of(path, entry), open_source(str(path))
        images = [finder(Frame(frame.image, camera)) for frame in source]
        reference = landmarks(sys.executable, path, args.cache / f'{name}.npz', [], len(images))
        labels = Labels.of(entry)
        yield (
            name,
            Recorded(images, against_referee(images, reference, labels), source.fps),
            presence_in_recording(images, reference, labels),
        )


def against_boxes(images: Sequence[Candidates], truth: Sequence[tuple[np.ndarray, np.ndarray]]) -> Judge:
    """Against true boxes (M, 4), with those ignored (K, 4), as `cliff evaluate` matches them."""

    def judged(n: int, rows: np.ndarray) -> tuple[int, int, int]:
        true, ignored = truth[n]
        boxes = images[n].boxes[rows]
        pairs = metrics.match(boxes, true)
        lost = np.delete(np.arange(len(rows)), [i for i, _ in pairs])
        return len(true), len(pairs), int((~metrics.left_out(boxes[lost], ignored)).sum())

    return judged


def against_referee(images: Sequence[Candidates], reference: Sequence, labels: Labels) -> Judge:
    """Against a referee and a human, as `bench.agreement` does."""

    def judged(n: int, rows: np.ndarray) -> tuple[int, int, int]:
        frame = judge(rows, images[n].boxes, images[n].joints2d, reference[n], labels, n)
        return frame.asked, frame.found, frame.too_many

    return judged


def presence_of_boxes(
    images: Sequence[Candidates], truth: Sequence[tuple[np.ndarray, np.ndarray]], min_iou: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Presence (N,) in the detector's boxes, and whether each is a person's (N,) bool.

    Boxes that show a part of somebody, or somebody who is not asked for, are neither.
    """
    said, came = [np.zeros(0)], [np.zeros(0, bool)]
    for image, (true, ignored) in zip(images, truth, strict=True):
        right = (iou(image.detected, true) >= min_iou).any(1)
        part = (inside(image.detected, true) > 0.5).any(1) | (inside(true, image.detected) > 0.5).any(0)
        clear = right | ~(part | metrics.left_out(image.detected, ignored))
        said.append(image.presence[clear])
        came.append(right[clear])
    return np.concatenate(said), np.concatenate(came)


def presence_in_recording(
    images: Sequence[Candidates], reference: Sequence, labels: Labels
) -> tuple[np.ndarray, np.ndarray]:
    """As `presence_of_boxes`, in frames of a recording in which the referee sees as many people as the human."""
    clear = [
        (image, [np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]) for points in frame.referee])
        for n, image in enumerate(images)
        if len((frame := judge(np.arange(0), image.boxes, image.joints2d, reference[n], labels, n)).referee)
        == labels.people_seen(n)
    ]
    truth = [(np.array(boxes).reshape(-1, 4), np.zeros((0, 4))) for _, boxes in clear]
    return presence_of_boxes([image for image, _ in clear], truth, OVERLAP)


def calibration(said: np.ndarray, came: np.ndarray) -> dict:
    """Reliability of presences (N,) against what is there (N,) bool."""
    return {
        'count': len(said),
        'people': int(came.sum()),
        'ece': expected_calibration_error(said, came),
        'reliability': reliability(said, came),
    }


def tables(report: dict) -> str:
    """Calibration, then for each kind of image found [%] / too many a frame by threshold."""
    parts = [
        table(
            ['presence', 'boxes', 'people', 'expected calibration error'],
            [[name, one['count'], one['people'], f'{one["ece"]:.3f}'] for name, one in report['calibration'].items()],
        )
    ]
    names = list(report['curves'])
    for key in ('score', *(f'presence, {hits} hits' for hits in HITS)):
        have = {name: report['curves'][name][key] for name in names if key in report['curves'][name]}
        axis = 'score' if key == 'score' else 'presence'
        some = next(iter(have.values()), [])
        parts.append(
            table(
                [f'{key}: found % / too many a frame', *have],
                [[f'{point[axis]:g}', *(_point(curve[i]) for curve in have.values())] for i, point in enumerate(some)],
            )
        )
    return '\n\n'.join(parts)


def _point(point: dict) -> str:
    found = '-' if point['found'] is None else f'{100 * point["found"]:.1f}'
    return f'{found} / {point["too_many"]:.3f}'


if __name__ == '__main__':
    main()
