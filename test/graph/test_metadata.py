"""What a runtime graph says of itself: the record, and the JSON in the file, which older versions wrote too."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import pytest

from cliff_ros import assets
from cliff_ros.crop.views import MAX_OFF_AXIS, CropSpec
from cliff_ros.graph.metadata import METADATA_KEY, OUTPUTS, GraphMetadata, read_metadata, sha256
from cliff_ros.graph.onnx_file import OnnxFile

# All that the first exporter wrote.
OLDEST = {
    'format': 1,
    'model': 'cliff_resnet50',
    'crop': [256, 192],
    'margin': 1,
    'body': 'smpl',
    'body_sha256': 'ab' * 32,
    'num_vertices': 6890,
}


def test_the_shipped_graph_is_read_and_written_as_it_stands():
    file = OnnxFile(assets.NETWORK)
    metadata = read_metadata(file, assets.NETWORK)
    assert metadata.model == 'cliff_embedded' and metadata.presence and metadata.licence == 'Apache-2.0'
    assert metadata.spec == CropSpec(128, 96, 1.1, antialias=True) and metadata.sha256 == sha256(assets.NETWORK)
    stored = json.loads(file.metadata[METADATA_KEY])
    written = metadata.as_json()
    assert written.pop('turn_beyond') == MAX_OFF_AXIS  # older files do not say it, and held to this
    assert written == stored and list(written) == list(stored)
    with pytest.raises(FrozenInstanceError):
        metadata.model = 'another'


def test_what_older_versions_did_not_say_is_what_held_then():
    metadata = GraphMetadata.from_json(OLDEST)
    assert metadata.spec == CropSpec(256, 192, 1.0)
    assert (metadata.num_betas, metadata.presence, metadata.dialect, metadata.licence) == (10, False, 'unknown', '')
    assert metadata.outputs() == OUTPUTS and 'vertices' not in metadata.outputs(vertices=False)
    assert metadata.output_shapes(3)['vertices'] == (3, 6890, 3)
    assert {name: value.shape for name, value in metadata.nobody(True).items()} == metadata.output_shapes(0)


def test_what_others_wrote_into_it_stays():
    metadata = GraphMetadata.from_json(OLDEST | {'note': [1, 2], 'presence': True}, 'cd' * 32)
    assert metadata.more == {'note': [1, 2]} and metadata.sha256 == 'cd' * 32
    again = GraphMetadata.from_json(json.loads(json.dumps(metadata.as_json())))
    assert replace(again, sha256=metadata.sha256) == metadata


@pytest.mark.parametrize('key', ['model', 'crop', 'margin', 'body', 'body_sha256', 'num_vertices'])
def test_what_is_needed_is_named(key):
    with pytest.raises(ValueError, match=f'lacks the metadata .*{key}'):
        GraphMetadata.from_json({name: value for name, value in OLDEST.items() if name != key})
