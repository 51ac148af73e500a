"""Full disks, names that are no text, pipes, bombs of YAML, videos that are cut off, and what SIGKILL leaves."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from cliff_ros import cli
from cliff_ros.camera import Camera
from cliff_ros.errors import InputError, OutputError
from cliff_ros.files import check_npz, parse_yaml, read_image, read_yaml, write_aside, write_bytes
from cliff_ros.people import Person
from cliff_ros.render.sheet import save_png
from cliff_ros.render.video import VideoFile, is_readable
from cliff_ros.results import PeopleLog
from cliff_ros.sources import open_source

NO_TEXT = b'caf\xe9'  # Latin-1, as old disks have it
RNG = np.random.default_rng(0)
PICTURE = cv2.resize(RNG.integers(0, 256, (6, 8, 3), np.uint8), (160, 120))


def folder_of_no_text(tmp_path: Path) -> Path:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b'/' + NO_TEXT))
    folder.mkdir()
    return folder


@pytest.fixture
def small_files():
    """Files of more than 20 kB fail as on a full disk (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


# ---- writing


def test_a_file_is_the_old_one_or_the_whole_new_one(tmp_path, small_files):
    path = tmp_path / 'new' / 'report.json'
    write_bytes(path, b'old')
    with pytest.raises(OutputError, match=f"'{path}' cannot be written .File too large.: make room"):
        write_bytes(path, bytes(50_000))
    with pytest.raises(KeyError), write_aside(path) as partial:
        partial.write_bytes(b'half')
        raise KeyError
    assert path.read_bytes() == b'old' and [file.name for file in path.parent.iterdir()] == ['report.json']
    link = tmp_path / 'link'
    link.symlink_to(path)
    write_bytes(link, b'new')
    assert link.is_symlink() and path.read_bytes() == b'new'


def test_devices_are_written_as_they_are_and_say_that_they_are_full():
    write_bytes('/dev/null', b'x')
    with pytest.raises(OutputError, match="'/dev/full' cannot be written .No space left on device"):
        write_bytes('/dev/full', b'x')


def test_places_that_cannot_be(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    with pytest.raises(OutputError, match='cannot be written .File exists'):
        write_bytes(tmp_path / 'file' / 'below', b'x')


def test_a_row_is_whole_or_absent(tmp_path, small_files):
    def person(number: int) -> Person:
        return Person(
            id=number,
            score=1.0,
            box=np.zeros(4),
            betas=np.zeros(10),
            rotations=np.zeros((24, 3, 3)),
            translation=np.zeros(3),
            joints=np.zeros((24, 3)),
            joints2d=np.zeros((24, 2)),
        )

    log = PeopleLog(Camera.uncalibrated(64, 48), tmp_path)
    with pytest.raises(OutputError, match='people.jsonl. cannot be written'):
        for frame in range(100):
            log.add(frame, 0.1 * frame, [person(1), person(2)])
    lines = (tmp_path / 'people.jsonl').read_bytes()
    assert lines.endswith(b'\n') and len(lines) > 3000
    assert all(json.loads(line)['id'] for line in lines.splitlines())


def cliff(*args: str, **kw) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-m', 'cliff_ros.cli', *args],
        capture_output=True,
        text=True,
        timeout=300,
        errors='replace',
        **kw,
    )


def images(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(count):
        write_bytes(folder / f'{i}.png', cv2.imencode('.png', PICTURE)[1].tobytes())
    return folder


def test_on_a_full_disk_the_report_is_written_where_there_is_room(tmp_path):
    """No file of the child may have more than 20 kB, but the report has less."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    out, report = tmp_path / 'out', tmp_path / 'report.json'
    done = cliff(
        'video', str(images(tmp_path / 'in', 40)), '--output', str(out), '--report', str(report), preexec_fn=limit
    )
    told = json.loads(report.read_text())
    assert done.returncode == 2 and done.stderr.strip().splitlines()[-1].startswith('cliff video: '), done.stderr
    assert 'Traceback' not in done.stderr and told['frames'] == 40 and not told['complete'] and told['stopped_by']
    assert not list(out.glob('*.partial.npz')) and not list(out.glob('*.partial.png'))


def test_full_and_forbidden_places_are_a_sentence(tmp_path):
    source = str(images(tmp_path / 'in', 2))
    done = cliff('video', source, '--report', '/dev/full')
    assert done.returncode == 2 and "'/dev/full' cannot be written (No space left on device)" in done.stderr
    done = cliff('video', source, '--output', '/proc/nothing')
    assert done.returncode == 2 and "'/proc/nothing" in done.stderr and 'cannot be written' in done.stderr
    from cliff_ros import assets

    assert cli.main(['convert', str(assets.BODY), '/proc/nothing/body.npz']) == 2


def test_a_checkpoint_on_a_full_disk_leaves_the_one_before(tmp_path, small_files):
    torch = pytest.importorskip('torch')
    from cliff_ros.training.progress import save

    path = tmp_path / 'last.pt'
    save(path, step=1)
    with pytest.raises(OutputError, match='last.pt. cannot be written'):
        save(path, step=2, weights=torch.zeros(100_000))
    assert torch.load(path, weights_only=True) == {'step': 1}
    assert [file.name for file in tmp_path.iterdir()] == ['last.pt']


# ---- names


def test_images_under_any_name(tmp_path):
    folder = folder_of_no_text(tmp_path)
    save_png(folder / 'a.png', PICTURE)
    assert np.array_equal(cv2.cvtColor(read_image(folder / 'a.png', cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), PICTURE)
    assert np.array_equal(next(iter(open_source(str(folder)))).image, PICTURE)


def test_videos_of_a_name_that_opencv_cannot_take_are_a_sentence(tmp_path):
    folder = folder_of_no_text(tmp_path)
    (folder / 'clip.mp4').write_bytes(b'x')
    for attempt in (lambda: open_source(str(folder / 'clip.mp4')), lambda: VideoFile(folder / 'new.mp4', 10.0, 64, 48)):
        with pytest.raises(InputError, match=r'caf\\udce9.*not UTF-8.*rename'):
            attempt()


def test_the_command_line_takes_names_that_are_no_text(tmp_path):
    folder = folder_of_no_text(tmp_path)
    images(folder / 'in', 2)
    report = folder / 'report.json'
    done = cliff('video', str(folder / 'in'), '--report', str(report), env=os.environ | {'LC_ALL': 'C.UTF-8'})
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text())['frames'] == 2
    done = cliff('video', str(folder / 'in'), '--output', str(folder / 'out'))
    assert done.returncode == 2 and 'not UTF-8' in done.stderr and 'Traceback' not in done.stderr


# ---- what is no file


def test_pipes_among_images_are_passed_over_and_named_alone(tmp_path):
    folder = images(tmp_path / 'in', 2)
    os.mkfifo(folder / '1a.png')
    (folder / '2.png').mkdir()
    assert len(open_source(str(folder))) == 2
    pipe = tmp_path / 'pipe.yaml'
    os.mkfifo(pipe)
    with pytest.raises(InputError, match='is a pipe or a device'):
        open_source(str(pipe))
    with pytest.raises(InputError, match="pipe.yaml' is a pipe, not a file"):
        Camera.from_yaml(pipe)
    with pytest.raises(InputError, match='is a device, not a file'):
        Camera.from_yaml('/dev/zero')


def test_an_engine_that_is_a_pipe_is_not_waited_for(tmp_path):
    from cliff_ros.engine import cache
    from cliff_ros.errors import ModelError

    os.mkfifo(tmp_path / 'pipe.engine')
    with pytest.raises(ModelError, match='pipe.engine is a pipe, not a file'):
        cache.read(tmp_path / 'pipe.engine')


# ---- YAML


def laughs() -> str:
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
    lines += [f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]' for i in range(1, 12)]
    return '\n'.join(lines)


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        (laughs(), 'alias'),
        ('a: &a [*a]', 'alias'),
        ('[' * 60_000, 'nested too deep'),
        ('- ' * 30_000, 'nested too deep'),
        ('a: 2001-99-99', 'month'),
        ('!!python/object/apply:os.system [x]', 'could not determine a constructor'),
        ('a: ' + '9' * 60_000, ''),
        ('? [a]\n: b', 'unhashable'),
    ],
)
def test_bombs_of_yaml_are_refused(tmp_path, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_yaml(text)
    path = tmp_path / 'camera.yaml'
    path.write_text(text)
    with pytest.raises(InputError, match='is not YAML'):
        Camera.from_yaml(path)


def test_yaml_of_many_bytes_or_none_is_refused(tmp_path):
    path = tmp_path / 'camera.yaml'
    path.write_text('a: 1\n' * 20_000)
    with pytest.raises(InputError, match='more than 64 kB'):
        read_yaml(path)
    path.write_bytes(b'a: \xff')
    with pytest.raises(InputError, match='is not YAML.*UTF-8'):
        Camera.from_yaml(path)


def test_mutated_calibrations_are_read_or_refused(tmp_path):
    rng, path, refused = np.random.default_rng(5), tmp_path / 'camera.yaml', 0
    Camera.uncalibrated(640, 480).to_yaml(path)
    whole = path.read_bytes()
    words = [
        b'*a',
        b'&a ',
        b'- ',
        b'[',
        b'{',
        b': ',
        b'null',
        b'1e999',
        b'0x' + b'f' * 300,
        b'!!binary',
        b'<<: ',
        b'\t',
    ]
    for _ in range(400):
        at, length = rng.integers(0, len(whole)), rng.integers(0, 12)
        path.write_bytes(whole[:at] + words[rng.integers(len(words))] + whole[at + length :])
        try:
            Camera.from_yaml(path)
        except InputError:
            refused += 1
    assert refused > 100


def test_an_npz_with_room_for_more_than_it_may_is_refused(tmp_path):
    np.savez_compressed(tmp_path / 'zeros.npz', zeros=np.zeros(1 << 20), other=np.zeros(3))
    from cliff_ros.errors import ModelError

    with pytest.raises(ModelError, match='unpacks to more than 1 MB'):
        check_npz(tmp_path / 'zeros.npz', most=1 << 20)
    check_npz(tmp_path / 'zeros.npz', ('other',), most=1 << 20)


# ---- videos


def clip(path: Path, count: int = 60) -> Path:
    with VideoFile(path, 15.0, 160, 120) as video:
        for i in range(count):
            video.add(np.roll(PICTURE, i, 1))
    return path


def test_a_finished_video_leaves_nothing_beside_it(tmp_path):
    assert is_readable(clip(tmp_path / 'clip.mp4')) and [file.name for file in tmp_path.iterdir()] == ['clip.mp4']


def test_a_video_of_a_killed_process_can_be_played(tmp_path):
    program = (
        'import os, signal; from pathlib import Path; import numpy as np; '
        'from cliff_ros.render.video import VideoFile; rng = np.random.default_rng(0); '
        f'video = VideoFile(Path({str(tmp_path)!r}) / "clip.mp4", 15., 640, 480); '
        '[video.add(rng.integers(0, 256, (480, 640, 3), np.uint8)) for _ in range(30)]; '
        'os.kill(os.getpid(), signal.SIGKILL)'
    )
    assert subprocess.run([sys.executable, '-c', program]).returncode == -signal.SIGKILL
    capture, count = cv2.VideoCapture(str(tmp_path / 'clip.partial.avi')), 0
    while capture.read()[0]:
        count += 1
    assert count >= 26


def test_a_video_without_room_is_said_and_what_there_is_stays(tmp_path, small_files):
    with (
        pytest.raises(OutputError, match='clip.mp4. could not be finished.*clip.partial.avi'),
        VideoFile(tmp_path / 'clip.mp4', 15.0, 160, 120) as video,
    ):
        for _ in range(40):
            video.add(RNG.integers(0, 256, (120, 160, 3), np.uint8))
    assert (tmp_path / 'clip.partial.avi').stat().st_size > 10_000


def test_a_video_says_before_it_begins_that_it_cannot_be(tmp_path):
    with pytest.raises(OutputError, match='cannot be written'):
        VideoFile(Path('/proc/nothing/clip.mp4'), 15.0, 160, 120)
    (tmp_path / 'clip.mp4').mkdir()
    with pytest.raises(OutputError, match=f'cannot be written .{os.strerror(errno.EISDIR)}'):
        VideoFile(tmp_path / 'clip.mp4', 15.0, 160, 120)


def test_a_video_that_is_cut_off_is_incomplete(tmp_path):
    """An AVI says first how many images it has."""
    path, report = tmp_path / 'clip.avi', tmp_path / 'report.json'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 15.0, (160, 120))
    for i in range(40):
        writer.write(np.roll(PICTURE, i, 1))
    writer.release()
    whole = path.read_bytes()
    assert cli.main(['video', str(path), '--report', str(report)]) == 0
    assert json.loads(report.read_text())['complete']
    path.write_bytes(whole[: len(whole) // 2])
    assert cli.main(['video', str(path), '--report', str(report)]) == 1
    told = json.loads(report.read_text())
    assert not told['complete'] and 'frames before the end that it states' in told['stopped_by']
    assert 10 < told['frames'] < 30
    assert cli.main(['video', str(path), '--max-frames', '5', '--report', str(report)]) == 0
