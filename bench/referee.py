"""What the package does on real recordings: a report for any clip, and one table over several.

    python -m bench.referee --data shared/data --output out/real                    # the clips of bench/real_clips.json
    python -m bench.referee --data shared/data --output out/new --before out/real/report.json
    python -m bench.referee clip.mp4 --camera camera_info.yaml --empty 0:60 --output out/clip

The referee is MediaPipe Pose, in an environment of its own (`bench/real_clips.sh` makes it, `--referee` names it); its
landmarks are kept and found once (`--cache`). Figures are explained in `bench.agreement`, rows of the table in `ROWS`.
Contact sheets show meshes and the referee's limbs on gray; the recording itself only with --show, and only of clips
whose licence lets it be shown.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from bench.agreement import Clip, Labels
from bench.referee_sheet import save
from bench.tables import place, table
from cliff_ros import Camera, Frame, Pipeline
from cliff_ros.errors import InputError
from cliff_ros.results import PeopleLog
from cliff_ros.sources import open_source

CLIPS = Path(__file__).with_name('real_clips.json')
SUFFIXES = {'.jpg', '.jpeg', '.png', '.webp', '.bmp'}
# Row of the table: label, figure, form, factor.
ROWS = (
    ('frames', 'frames', '{:.0f}', 1),
    ('empty frames that report nobody [%]', 'empty_quiet_share', '{:.1f}', 100),
    ('people too many, a frame', 'too_many_per_frame', '{:.2f}', 1),
    ('people asked for who are found [%]', 'found_share', '{:.1f}', 100),
    ('people in full view who are found [%]', 'whole_found_share', '{:.1f}', 100),
    ("mesh sits on the referee's person [%]", 'sits_share', '{:.1f}', 100),
    ('joints, median distance [% of height]', 'joints_median_percent', '{:.1f}', 1),
    ('joints within 5 % of height [%]', 'joints_within_5_percent', '{:.0f}', 100),
    ('joints within 10 % of height [%]', 'joints_within_10_percent', '{:.0f}', 100),
    ('ids a person of the referee', 'ids_per_person', '{:.1f}', 1),
    ('id switches', 'id_switches', '{:.0f}', 1),
    ('ids in all', 'ids', '{:.0f}', 1),
    ('faster than 8 m/s with state OK, reports', 'too_fast', '{:.0f}', 1),
    ('fastest [m/s]', 'fastest_m_s', '{:.1f}', 1),
    ('reports that coast [%]', 'coasting_share', '{:.1f}', 100),
    ('jitter of joints [10 m/s^3]', 'jitter', '{:.0f}', 1),
    ('acceleration in the image [% of height]', 'acceleration_percent', '{:.2f}', 1),
    ("  the referee's own", 'referee_acceleration_percent', '{:.2f}', 1),
)


def main() -> None:
    args = arguments().parse_args()
    logging.getLogger('cliff_ros.sources').setLevel(logging.ERROR)  # a guessed camera is known from real_clips.json
    args.output.mkdir(parents=True, exist_ok=True)
    cache = args.cache or args.output / 'landmarks'
    report = {'model': args.model, 'detector': args.detector, 'clips': {}}
    for name, path, entry in chosen(args):
        print(f'{name}: {path.name}', flush=True)
        report['clips'][name] = one(args, name, path, entry, cache)
    if args.photographs:
        report['photographs'] = photographs(args)
    before = json.loads(args.before.read_text()) if args.before else None
    text = tables(report, before)
    (args.output / 'report.json').write_text(json.dumps(report, indent=2) + '\n')
    (args.output / 'table.md').write_text(text + '\n')
    if args.into:
        args.into.write_text(place(args.into.read_text(), {'real recordings': text}))
    print(f'\n{text}\n\nwritten: {args.output}')


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('video', nargs='*', type=Path, help='clips of your own')
    parser.add_argument('--data', type=Path, help='folder with the clips of bench/real_clips.json')
    parser.add_argument('--clips', nargs='*', metavar='NAME', help='only these of them')
    parser.add_argument('--camera', type=Path, metavar='YAML', help='calibration of clips of your own')
    parser.add_argument(
        '--empty',
        nargs='*',
        default=(),
        type=span,
        metavar='FROM:TO',
        help='frames of clips of your own that show nobody',
    )
    parser.add_argument(
        '--output', type=Path, required=True, help='folder for report.json, table.md, people and sheets'
    )
    parser.add_argument('--cache', type=Path, help="folder of the referee's landmarks (default: in the output)")
    parser.add_argument('--referee', default=sys.executable, metavar='PYTHON', help='a Python that has MediaPipe')
    parser.add_argument('--before', type=Path, metavar='REPORT', help='report.json of an earlier run, to compare with')
    parser.add_argument(
        '--into',
        type=Path,
        metavar='MARKDOWN',
        help="also put the table into this document, between '<!-- real recordings -->' and '<!-- end -->'",
    )
    parser.add_argument(
        '--photographs',
        type=Path,
        metavar='DIR',
        help="folder with pictures in 'nobody' and 'people': how many are reported in each",
    )
    parser.add_argument('--model', default='embedded')
    parser.add_argument('--detector', default='embedded')
    parser.add_argument('--max-frames', type=int, help='only the first frames of each clip')
    parser.add_argument('--show', action='store_true', help='contact sheets with the recording, where that is allowed')
    return parser


def span(text: str) -> tuple[int, int]:
    first, _, end = text.partition(':')
    return int(first), int(end)


def chosen(args: argparse.Namespace) -> list[tuple[str, Path, dict]]:
    """Name, file and entry (as in real_clips.json) of each clip."""
    clips = [(path.stem, path, {'empty': args.empty, 'camera': args.camera}) for path in args.video]
    if args.data:
        known = {name: entry for name, entry in json.loads(CLIPS.read_text()).items() if isinstance(entry, dict)}
        if unknown := set(args.clips or ()) - set(known):
            raise InputError(f'no clip {", ".join(sorted(unknown))}: choose from {", ".join(known)}')
        clips += [
            (name, args.data / entry['file'], entry) for name, entry in known.items() if name in (args.clips or known)
        ]
    if missing := [str(path) for _, path, _ in clips if not path.is_file()]:
        raise InputError(f'there is no {", ".join(missing)}: give the clips, or their folder with --data')
    return clips


def one(args: argparse.Namespace, name: str, path: Path, entry: dict, cache: Path) -> dict:
    """The figures of a clip; its people, figures and contact sheet are left in the output."""
    folder = args.output / name
    people, frames, fps, seconds = run(args, path, entry, folder)
    reference = landmarks(args.referee, path, cache / f'{name}.npz', entry.get('scales', [1, 0.6]), frames)
    clip = Clip(people, reference, fps, Labels.of(entry))
    shown = args.show and entry.get('show')
    title = f'{name} ({shown})' if shown else name
    save(folder / 'sheet.png', clip, camera_of(path, entry), path if shown else None, title)
    if shown:
        save(folder / 'sheet.jpg', clip, camera_of(path, entry), path, title, count=12)  # of docs/model_card.md
    return {'file': path.name, 'frames_per_second': frames / seconds, **clip.figures()}


def run(args: argparse.Namespace, path: Path, entry: dict, folder: Path) -> tuple[dict, int, float, float]:
    """Our people in a clip (columns of cliff_ros.results), its frames, its rate [1/s], and the seconds it took."""
    folder.mkdir(parents=True, exist_ok=True)
    source, camera = open_source(str(path)), camera_of(path, entry)
    pipeline, log, frames, started = Pipeline(args.model, detector=args.detector), PeopleLog(camera, folder), 0, 0.0
    for frame in source:
        if frames == args.max_frames:
            break
        started = started or time.monotonic()
        log.add(frames, frame.stamp, pipeline(Frame(frame.image, camera, frame.stamp), vertices=False))
        frames += 1
    log.close()
    return log.columns(), frames, source.fps, time.monotonic() - started


def camera_of(path: Path, entry: dict) -> Camera:
    """Of a clip: calibrated where something is known, else the authors' guess."""
    source = open_source(str(path), entry.get('camera'))
    source.close()
    if 'K' in entry:
        fx, fy, cx, cy = entry['K']
        return Camera(*source.camera.size, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]))
    return source.camera


def landmarks(python: str, path: Path, file: Path, scales: list[float], frames: int) -> list[list[np.ndarray]]:
    """The referee's people in each frame, (33, 3); found by another Python unless `file` has them."""
    if not file.is_file():
        found = subprocess.run(
            [python, Path(__file__).with_name('landmarks.py'), path, file, '--scales', *map(str, scales)],
            capture_output=True,
            text=True,
        )
        if found.returncode:
            raise InputError(
                f"the referee failed on '{path}': {found.stderr.strip().splitlines()[-1:]}; name a Python "
                'that has mediapipe 0.10.21 with --referee, or start bench/real_clips.sh'
            )
        print(f'  {found.stdout.strip()}', flush=True)
    with np.load(file) as stored:
        if stored['frames'] < frames:
            raise InputError(
                f"'{file}' has {stored['frames']} frames of the {frames} of '{path}': it is of another "
                'clip, so remove it or give another --cache'
            )
        return [list(stored['landmarks'][stored['frame'] == n]) for n in range(min(frames, int(stored['frames'])))]


def photographs(args: argparse.Namespace) -> dict:
    """How many people are reported in each picture of the folders 'nobody' and 'people'."""
    import cv2

    pipeline, report = Pipeline(args.model, detector=args.detector, smoothing=False), {}
    for kind in ('nobody', 'people'):
        found = {}
        for path in sorted(p for p in (args.photographs / kind).glob('*') if p.suffix.lower() in SUFFIXES):
            image = cv2.imread(str(path))
            if image is None:
                raise InputError(f"OpenCV cannot read '{path}'")
            pipeline.reset()
            camera = Camera.uncalibrated(image.shape[1], image.shape[0])
            found[path.name] = len(pipeline(Frame(image, camera, order='bgr'), vertices=False))
        report[kind] = {
            'pictures': len(found),
            'reported': sum(found.values()),
            'pictures_with_somebody': sum(map(bool, found.values())),
            'by_picture': found,
        }
    return report


def tables(report: dict, before: dict | None = None) -> str:
    """The clips of a report beside each other, each before and after where there is a report from before."""
    head, columns = ['clip'], []
    for name, figures in report['clips'].items():
        old = (before or {}).get('clips', {}).get(name)
        head += [f'{name}, before', 'after'] if old else [name]
        columns += [old, figures] if old else [figures]
    rows = [[label, *(cell(figures, *how) for figures in columns)] for label, *how in ROWS]
    text = [table(head, rows)] if columns else []
    if 'photographs' in report:
        reports = [some['photographs'] for some in (before, report) if some and 'photographs' in some]
        text.append(
            table(
                ['photographs', *(['before', 'after'] if len(reports) > 1 else [''])],
                [
                    ['without people: pictures', *(some['nobody']['pictures'] for some in reports)],
                    ['of these with a report', *(some['nobody']['pictures_with_somebody'] for some in reports)],
                    ['people reported there', *(some['nobody']['reported'] for some in reports)],
                    ['with people: pictures', *(some['people']['pictures'] for some in reports)],
                    ['of these with a report', *(some['people']['pictures_with_somebody'] for some in reports)],
                    ['people reported there', *(some['people']['reported'] for some in reports)],
                ],
            )
        )
    return '\n\n'.join(text)


def cell(figures: dict, key: str, form: str, factor: float) -> str:
    value = figures.get(key)
    return '-' if value is None else form.format(factor * value)


if __name__ == '__main__':
    try:
        main()
    except InputError as error:
        sys.exit(f'bench.referee: {error}')
