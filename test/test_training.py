"""Training from nothing: every stage runs, resumes, and leaves graphs that the package can run."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('onnx')

from cliff_ros.camera import Camera  # noqa: E402
from cliff_ros.people import Box, Frame  # noqa: E402
from cliff_ros.pipeline import Pipeline  # noqa: E402


@pytest.mark.slow
def test_the_recipe_makes_graphs_that_run(tmp_path):
    from cliff_ros.cliff.embedded import load_embedded
    from cliff_ros.training.recipe import Recipe
    lines: list[str] = []
    recipe = Recipe(tmp_path / 'work', tmp_path, seconds=12., workers=2)
    recipe.log = lambda *words: lines.append(' '.join(map(str, words)))
    recipe.render(shards=1, stills=1, shard_size=80, still_size=20)
    recipe.keypoints()
    recipe.skeletons()
    recipe.regressor()
    recipe.detector()
    pipeline = Pipeline(tmp_path / 'cliff_embedded.onnx', detector=tmp_path / 'detector_embedded.onnx', smoothing=False)
    camera = Camera(320, 240, np.array([[250., 0, 159.5], [0, 250., 119.5], [0, 0, 1]]))
    frame = Frame(np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8), camera)
    pipeline(frame)
    person, = pipeline(frame, boxes=[Box(np.array([120, 40, 180, 220]))])
    assert np.isfinite(person.vertices).all() and person.vertices.shape == (6890, 3)
    validated = [line for line in lines if 'mpjpe_mm' in line or 'pck' in line]
    assert len(validated) >= 2
    # what was trained can be the start of the next training, which needs no skeletons
    further = Recipe(tmp_path / 'further', tmp_path / 'again', seconds=6., workers=2,
                     start=tmp_path / 'cliff_embedded.onnx')
    further.render(shards=1, stills=0, shard_size=80, first=1)
    before = further.start.regressor.leave.weight.clone()
    further.keypoints()
    further.skeletons()
    further.regressor()
    after = load_embedded(tmp_path / 'again' / 'cliff_embedded.onnx').regressor.leave.weight
    assert 0 < (after - before).abs().max() < .1 and not (tmp_path / 'further' / 'skeletons.pt').exists()
    # a second start finds the data, and goes on from the checkpoints where there is time left
    recipe.seconds['keypoints'] += 1
    recipe.keypoints()
    assert any('resuming at' in line and 'resuming at 0 s' not in line for line in lines)


def test_what_a_stage_lacks_is_said(tmp_path):
    from cliff_ros.errors import InputError
    from cliff_ros.training.recipe import Recipe
    recipe = Recipe(tmp_path, tmp_path, seconds=1., workers=1)
    with pytest.raises(InputError, match='render'):
        recipe.regressor()
    torch.save(dict(encoder={}, optimizer={}, elapsed=0., step=0), tmp_path / 'keypoints.pt')
    with pytest.raises(InputError, match='older version'):
        recipe.keypoints()


def test_mirrored_crops_give_mirrored_keypoints():
    """The network looks at a crop both ways: it cannot prefer the left to the right."""
    from cliff_ros.cliff.embedded import KeypointEncoder
    from cliff_ros.cliff.lifting import MIRROR_KEYPOINTS, NUM_DEPTHS, NUM_KEYPOINTS
    torch.manual_seed(0)
    encoder = KeypointEncoder().eval()
    crops = torch.randn(3, 3, 128, 96)

    def look(x):
        features = encoder(x)
        places = features[:, :2 * NUM_KEYPOINTS].view(3, NUM_KEYPOINTS, 2)
        return places, *features[:, 2 * NUM_KEYPOINTS:].split([NUM_KEYPOINTS, NUM_DEPTHS, 6, NUM_KEYPOINTS, 128, 128, 1], 1)
    with torch.no_grad():
        straight, mirrored = look(crops), look(crops.flip(3))
    places = mirrored[0] * torch.tensor([-1., 1])
    torch.testing.assert_close(places, straight[0][:, MIRROR_KEYPOINTS], atol=1e-3, rtol=0)
    torch.testing.assert_close(mirrored[1], straight[1][:, MIRROR_KEYPOINTS], atol=1e-3, rtol=0)
    torch.testing.assert_close(mirrored[2], straight[2][:, MIRROR_KEYPOINTS[:NUM_DEPTHS]], atol=1e-3, rtol=0)
    torch.testing.assert_close(mirrored[3] * torch.tensor([-1., 1, 1, -1, 1, 1]), straight[3], atol=1e-4, rtol=0)
    torch.testing.assert_close(mirrored[4], straight[4][:, MIRROR_KEYPOINTS], atol=1e-3, rtol=0)
    assert torch.equal(straight[5], mirrored[6]) and torch.equal(straight[6], mirrored[5])  # the free features of each
    encoder.train()   # one look in training, where crops are mirrored at random
    with torch.no_grad():
        assert not torch.equal(encoder(crops)[:, :58], encoder(crops.flip(3))[:, :58])
