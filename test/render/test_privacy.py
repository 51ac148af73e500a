"""Covered is covered: nothing of a face, or of a person, is left in an image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_overlay import CAMERAS, HEIGHT, WIDTH, stand

from cliff_ros.body import load_body
from cliff_ros.render.privacy import FACES, MODES, OFF, PEOPLE, covered, sentence, stricter

HEAD = load_body().weights[:, 15] > 0.5  # vertices that move with the head


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def pixels_of(camera, points) -> np.ndarray:
    """Columns and rows (N, 2) of those of the points that are in the image."""
    found = np.asarray(camera.project(np.asarray(points, np.float64)))
    found = found[np.isfinite(found).all(1)].round().astype(int)
    return found[((found >= 0) & (found < (WIDTH, HEIGHT))).all(1)]


def is_flat(image, pixels) -> bool:
    return len(np.unique(image[pixels[:, 1], pixels[:, 0]], axis=0)) <= 1


@pytest.mark.parametrize('camera', CAMERAS.values(), ids=CAMERAS.keys())
@settings(max_examples=25, deadline=None)
@given(x=st.floats(-1.2, 1.2), z=st.floats(1.2, 8.0))
def test_nothing_of_a_face_is_left_and_everything_else_is(camera, x, z):
    person, before = stand(camera, x=x, z=z), noise()
    after = covered(before, [person], camera, FACES)
    face = pixels_of(camera, person.vertices[HEAD])
    assert is_flat(after, face)
    if len(face) > 20:
        changed = (after != before).any(-1)
        assert changed[face[:, 1], face[:, 0]].mean() > 0.95  # noise may have that color by chance
        assert changed.sum() < 9 * (np.ptp(face, axis=0) + 12).prod()
    np.testing.assert_array_equal(before, noise())


def test_nothing_of_a_person_is_left():
    camera = CAMERAS['plumb_bob']
    near, far = stand(camera, x=-1.0), stand(camera, x=1.5, z=5.0, person_id=2)
    after = covered(noise(), [near, far], camera, PEOPLE)
    for person in (near, far):
        assert is_flat(after, pixels_of(camera, person.vertices))
    assert (after == noise()).all(-1).mean() > 0.3


def test_where_the_head_is_not_known_everything_of_the_person_is_covered():
    camera = CAMERAS['pinhole']
    person = stand(camera)
    lost = person.with_(joints=np.full_like(person.joints, np.nan))
    assert is_flat(covered(noise(), [lost], camera, FACES), pixels_of(camera, person.vertices))
    behind = person.with_(joints=person.joints - (0, 0, 10))
    assert is_flat(covered(noise(), [behind], camera, FACES), pixels_of(camera, person.vertices))


def test_modes():
    camera, image = CAMERAS['pinhole'], noise()
    assert covered(image, [stand(camera)], camera, OFF) is image
    assert covered(image, [], camera, PEOPLE) is image
    with pytest.raises(ValueError, match='privacy is one of'):
        covered(image, [], camera, 'face')
    assert stricter(OFF, FACES) == FACES and stricter(PEOPLE, FACES) == PEOPLE
    assert [bool(sentence(mode)) for mode in MODES] == [False, True, True]
