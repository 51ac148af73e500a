"""Formats that other programs write: pandas' tables without pandas, COCO's JSON in several orders of keypoints."""

from __future__ import annotations

import io
import json
import pickle

import numpy as np
import pytest

from cliff_ros.datasets.coco import CocoKeypoints
from cliff_ros.datasets.frames import read_table
from cliff_ros.errors import InputError, ModelError


class Named:
    """Something that a pickle imports under another name than ours."""

    def __init__(self, full: str) -> None:
        self.module, _, self.name = full.rpartition('.')


class Made:
    """An object as pickle writes it: what is called, arguments, state."""

    def __init__(self, kind: Named, args: tuple = (), state=None) -> None:
        self.kind, self.args, self.state = kind, args, state


class OldPandas(pickle._Pickler):
    """Writes tables as pandas 1.1 laid them out."""

    dispatch = dict(pickle._Pickler.dispatch)

    def _named(self, named: Named) -> None:
        self.write(f'c{named.module}\n{named.name}\n'.encode())

    def _made(self, made: Made) -> None:
        self._named(made.kind)
        self.save(made.args)
        self.write(b'\x81' if not made.args else b'R')
        if made.state is not None:
            self.save(made.state)
            self.write(b'b')

    dispatch[Named], dispatch[Made] = _named, _made


def old_table(columns: dict[str, list]) -> bytes:
    cells = np.empty((len(columns), len(next(iter(columns.values())))), object)
    for i, values in enumerate(columns.values()):
        for j, value in enumerate(values):
            cells[i, j] = value
    names = np.empty(len(columns), object)
    names[:] = list(columns)
    new = Named('pandas.core.indexes.base._new_Index')
    axes = [
        Made(new, (Named('pandas.core.indexes.base.Index'), {'data': names, 'name': None})),
        Made(new, (Named('pandas.core.indexes.range.RangeIndex'), {'start': 0, 'stop': cells.shape[1], 'step': 1})),
    ]
    blocks = {'0.14.1': {'axes': axes, 'blocks': [{'values': cells, 'mgr_locs': slice(0, len(columns), 1)}]}}
    manager = Made(Named('pandas.core.internals.managers.BlockManager'), (), (axes, [cells], [axes[0]], blocks))
    file = io.BytesIO()
    OldPandas(file, 4).dump(Made(Named('pandas.core.frame.DataFrame'), (), {'_data': manager, '_typ': 'dataframe'}))
    return file.getvalue()


def test_a_table_of_old_pandas(tmp_path) -> None:
    columns = {'imgPath': ['a.png', 'b.png'], 'gt': [[np.eye(2), np.ones(3)], []], 'n': [1, 2.5]}
    (tmp_path / 'old.pkl').write_bytes(old_table(columns))
    found = read_table(tmp_path / 'old.pkl')
    assert found['imgPath'] == ['a.png', 'b.png'] and found['n'] == [1, 2.5] and found['gt'][1] == []
    np.testing.assert_array_equal(found['gt'][0][0], np.eye(2))


def test_a_table_of_todays_pandas(tmp_path) -> None:
    pandas = pytest.importorskip('pandas')
    table = pandas.DataFrame({'a': pandas.Series([[np.eye(2)], [np.ones(3), 'x']], dtype=object)})
    table['number'], table['whole'] = [1.5, 2.5], [3, 4]
    table.columns = pandas.Index(list(table.columns), dtype=object)
    table.to_pickle(tmp_path / 'new.pkl')
    found = read_table(tmp_path / 'new.pkl')
    np.testing.assert_array_equal(found['a'][0][0], np.eye(2))
    assert found['a'][1][1] == 'x' and found['number'] == [1.5, 2.5] and found['whole'] == [3, 4]


class Evil:
    def __reduce__(self):
        return print, ('ran',)


@pytest.mark.parametrize('content', [b'', b'\x80\x04N.', pickle.dumps({'a': 1}), old_table({'a': [1]})[:60]])
def test_what_is_no_table_is_refused(tmp_path, content) -> None:
    (tmp_path / 'x.pkl').write_bytes(content)
    with pytest.raises(ModelError):
        read_table(tmp_path / 'x.pkl')


def test_nothing_in_a_table_runs(tmp_path, capsys) -> None:
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelError, match='print'):
        read_table(tmp_path / 'x.pkl')
    assert capsys.readouterr().out == ''


def coco(path, keypoints, **more) -> CocoKeypoints:
    entry = dict(id=7, image_id=1, category_id=1, keypoints=keypoints, bbox=[0, 0, 50, 100])
    content = dict(images=[dict(id=1, file_name='a.jpg')], annotations=[entry], **more)
    path.write_text(json.dumps(content))
    return CocoKeypoints(path, path.parent)


def test_keypoints_by_name_or_by_their_number(tmp_path) -> None:
    crowdpose = np.arange(42.0).reshape(14, 3)
    crowdpose[:, 2] = 2
    sample = coco(tmp_path / 'a.json', crowdpose.ravel().tolist())[0]
    assert sample.confidence[[16, 17, 8]].tolist() == [1, 1, 1] and not sample.confidence[[24, 12, 15]].any()
    np.testing.assert_array_equal(sample.keypoints[8], crowdpose[11, :2] - 0.5)  # right ankle
    mpii = np.arange(48.0).reshape(16, 3)
    mpii[:, 2] = np.linspace(0, 1, 16)
    sample = coco(tmp_path / 'b.json', mpii.ravel().tolist())[0]
    assert sample.confidence[8] == 0
    np.testing.assert_array_equal(sample.keypoints[20], mpii[15, :2] - 0.5)  # left wrist
    assert sample.confidence[20] == 1 and sample.confidence[5] == pytest.approx(1 / 15)
    two = coco(tmp_path / 'c.json', [1, 2, 2, 3, 4, 1], categories=[dict(id=1, keypoints=['Left Hip', 'tail'])])[0]
    assert np.flatnonzero(two.confidence).tolist() == [1]


@pytest.mark.parametrize(
    'text, sentence',
    [
        ('[', 'not JSON'),
        ('[]', "COCO's format"),
        ('{"images": []}', "COCO's format"),
        ('{"images": 3}', "COCO's format"),
    ],
)
def test_what_is_not_coco_is_refused(tmp_path, text, sentence) -> None:
    (tmp_path / 'x.json').write_text(text)
    with pytest.raises(InputError, match=sentence):
        CocoKeypoints(tmp_path / 'x.json', tmp_path)
    with pytest.raises(InputError, match='5 keypoints'):
        coco(tmp_path / 'y.json', [1, 2, 2] * 5)
