"""The embedded detector on held-out synthetic stills: recall and precision at IoU 0.5, and its time.

    python bench/detector.py --frames 200
"""

from __future__ import annotations

import argparse
import json
from time import perf_counter

import numpy as np

from cliff_ros.detect import load_detector
from cliff_ros.evaluation.metrics import match
from cliff_ros.synthetic.stills import StillSampler

SIZES = ((640, 480), (1280, 720))
HELD_OUT_SEED = 950_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--frames', type=int, default=200, help='of each size')
    args = parser.parse_args()
    detector, report = load_detector('embedded'), {}
    for width, height in SIZES:
        sampler = StillSampler(HELD_OUT_SEED + width, num_backgrounds=60)
        true = found = right = 0
        times = []
        for _ in range(args.frames):
            image, boxes = sampler.sample(width, height)
            start = perf_counter()
            detected = detector(image, 'rgb')
            times.append(1e3 * (perf_counter() - start))
            predicted = np.array([box.xyxy for box in detected]).reshape(-1, 4)
            true, found = true + len(boxes), found + len(predicted)
            right += len(match(predicted, boxes, 0.5))
        report[f'{width}x{height}'] = {'people': true, 'recall': right / true, 'precision': right / max(1, found),
                                       'ms_median': float(np.median(times))}
    print(json.dumps(report, indent=2))


if __name__ == '__main__':
    main()
