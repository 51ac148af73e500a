"""What was measured once can be measured again: the scenes of `cliff evaluate` and of the demo never change.

Boxes and mean colors below are of the world as it was when the shipped weights were first measured. Whoever adds to
the synthetic world adds beside these: a single random number more, drawn on their path, and all figures in the docs are
of other people.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('numba', reason='the synthetic world is drawn with numba')

from cliff_ros.evaluation.synthetic import SyntheticScenes
from cliff_ros.synthetic import Sequence

# (boxes of who is asked for [px], mean color) of the first images of seeds 0 and 1
SCENES = [
    ([(498.8, 157.1, 614.3, 333.1)], (171.1, 164.8, 170.0)),
    ([(391.6, 356.4, 477.9, 509.0), (649.2, 307.6, 763.9, 494.2)], (112.3, 105.3, 110.6)),
    ([(383.8, 230.9, 439.1, 323.5)], (24.3, 36.7, 39.8)),
    ([(1164.3, 137.4, 1279.5, 540.9), (373.6, 23.8, 840.8, 568.3), (-0.5, -0.5, 507.6, 543.5)], (86.9, 58.2, 69.0)),
    ([(-0.5, 162.8, 109.0, 312.0), (439.9, 201.7, 471.8, 270.5)], (82.4, 98.1, 100.0)),
    ([(727.5, 339.3, 1279.5, 719.5), (54.1, 396.6, 233.6, 574.0)], (95.8, 60.5, 76.8)),
    ([(349.9, 153.6, 389.0, 232.8)], (84.8, 84.8, 84.8)),
    ([(495.5, 405.4, 569.6, 541.6)], (151.2, 156.4, 166.0)),
]
# of frames 0, 40 and 150
DEMO = [
    (
        [(401.2, 156.9, 555.1, 524.2), (571.1, 247.0, 687.7, 512.1), (864.8, 110.2, 1004.9, 546.1)],
        (134.4, 127.5, 126.9),
    ),
    ([(182.4, 126.0, 385.1, 547.3), (533.7, 210.3, 681.1, 515.6), (679.0, 94.5, 854.0, 573.6)], (132.6, 125.0, 124.5)),
    ([(208.6, 156.6, 390.3, 510.9), (559.0, 234.4, 699.7, 511.9), (727.8, 70.9, 966.7, 620.5)], (132.9, 125.7, 125.0)),
]


def same(people, image, boxes, color):
    found = np.reshape([person.box for person in people], (-1, 4))
    np.testing.assert_allclose(found, np.reshape(boxes, (-1, 4)), atol=0.1)
    np.testing.assert_allclose(image.reshape(-1, 3).mean(0), color, atol=0.3)


def test_the_scenes_that_evaluations_ask_for_are_those_of_ever():
    for seed in (0, 1):
        for still, wanted in zip(SyntheticScenes(seed, 4), SCENES[4 * seed :], strict=False):
            same(still.people, still.image, *wanted)


def test_the_demo_is_that_of_ever():
    demo = Sequence(seed=0)
    for index, wanted in zip((0, 40, 150), DEMO, strict=True):
        same(demo.truth(index), demo.image(index), *wanted)
