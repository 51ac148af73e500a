"""Files of other people's making are read in a child with limits: whatever it does, the parent says a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cliff_ros.body import load_body
from cliff_ros.body.files import read_body, read_h36m_regressor
from cliff_ros.errors import ModelError
from cliff_ros.sandbox import Limits, run_limited

HERE = str(Path(__file__).parent)
KINDS = {
    'numbers': np.arange(6, dtype='>i4').reshape(2, 3),
    'text': np.array('neutral'),
    'empty': np.zeros((0, 3)),
    'columns': np.asfortranarray(np.eye(3, dtype=np.float32)),
    'flags': np.array([True, False]),
}


# ---- what children do in these tests


def give() -> dict:
    return KINDS


def take_memory() -> dict:
    return {'much': np.ones(1 << 28)}


def take_time() -> dict:
    while True:
        pass


def sleep() -> dict:
    time.sleep(60)


def crash() -> dict:
    os.kill(os.getpid(), signal.SIGSEGV)


def lie() -> dict:
    """A child that was taken over writes what it likes where the result should be."""
    os.write(int(sys.argv[2]), b'{"arrays": [["x", "|O8", [1]]]}\n12345678')
    os._exit(0)


def exaggerate() -> dict:
    os.write(int(sys.argv[2]), b'{"arrays": [["x", "<f8", [1000000000]]]}\n12345678')
    os._exit(0)


def refuse() -> dict:
    raise ModelError('is not good')


def run(function: str, **limits) -> dict:
    sys.path.append(HERE)  # as pytest has it or not
    try:
        return run_limited(f'test_sandbox:{function}', what='file x', limits=Limits(**limits))
    finally:
        sys.path.remove(HERE)


def test_arrays_come_back_as_they_were():
    arrays = run('give')
    assert arrays.keys() == KINDS.keys()
    for name, value in KINDS.items():
        assert arrays[name].shape == value.shape and arrays[name].dtype == value.dtype.newbyteorder('<')
        assert np.array_equal(arrays[name], value)


@pytest.mark.parametrize(
    ('function', 'limits', 'sentence'),
    [
        ('take_memory', {'memory': 1 << 28}, r'file x .*0.25 GB|needs more than the 0.25 GB'),
        ('take_time', {'cpu': 1}, 'file x was not read within 1 s'),
        ('sleep', {'wall': 2}, 'not read within 2 s'),
        ('crash', {}, 'file x ends what reads it .by signal 11'),
        ('lie', {}, 'not whole'),
        ('exaggerate', {}, 'not whole'),
        ('refuse', {}, '^is not good$'),
    ],
)
def test_a_child_that_misbehaves_is_a_sentence(function, limits, sentence):
    began = time.monotonic()
    with pytest.raises(ModelError, match=sentence):
        run(function, **limits)
    assert time.monotonic() - began < 50


def test_a_killed_parent_leaves_no_child(tmp_path):
    program = f"import sys; sys.path.append({HERE!r}); import test_sandbox; test_sandbox.run('sleep')"
    parent = subprocess.Popen([sys.executable, '-c', program], cwd=Path.cwd())
    children: list[str] = []
    while not children:
        children = Path(f'/proc/{parent.pid}/task/{parent.pid}/children').read_text().split()
        time.sleep(0.05)
    time.sleep(1.0)  # past its imports
    parent.kill()
    parent.wait()
    until = time.monotonic() + 30
    while any(Path(f'/proc/{child}/exe').exists() for child in children):
        assert time.monotonic() < until
        time.sleep(0.05)


# ---- body files


def bomb(path: Path, declared: int) -> Path:
    """An npz of few bytes with an array of many."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive, archive.open('v_template.npy', 'w') as file:
        np.lib.format.write_array_header_1_0(
            file, {'descr': '<f4', 'fortran_order': False, 'shape': (declared // 12, 3)}
        )
        for _ in range(64):
            file.write(bytes(1 << 20))
    return path


def test_bodies_that_are_bombs_pipes_or_folders_are_refused(tmp_path):
    pipe, endless = tmp_path / 'body.pkl', tmp_path / 'endless.npz'
    os.mkfifo(pipe)
    endless.symlink_to('/dev/zero')
    for path, sentence in (
        (bomb(tmp_path / 'bomb.npz', 1 << 40), 'bytes for the shape'),
        (pipe, 'is a pipe'),
        (endless, 'is a device'),
        (tmp_path, 'is a folder'),
        (tmp_path / 'no.npz', 'No such file'),
    ):
        with pytest.raises(ModelError, match=f"body file '{path}' .*{sentence}"):
            read_body(path)
    with pytest.raises(ModelError, match='regressor .* is a pipe'):
        read_h36m_regressor(pipe, 60)
    np.save(tmp_path / 'cut.npy', np.zeros((17, 60)))
    whole = (tmp_path / 'cut.npy').read_bytes()
    (tmp_path / 'cut.npy').write_bytes(whole[:-8].replace(b'(17, 60)', b'(1<<40,)'))
    with pytest.raises(ModelError, match='regressor'):
        read_h36m_regressor(tmp_path / 'cut.npy', 60)


def test_a_copy_of_the_embedded_body_needs_no_child(tmp_path, monkeypatch):
    from cliff_ros import assets
    from cliff_ros.body import files

    copy = tmp_path / 'copy.npz'
    copy.write_bytes(assets.BODY.read_bytes())
    monkeypatch.setattr(files, 'run_limited', None)
    assert load_body(copy).sha256 == load_body().sha256
