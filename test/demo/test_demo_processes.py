"""Children of the demo: logged, watched, and gone when the demo is."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cliff_ros.demo.processes import Processes, ProcessFailed, free_domain, ros_environment
from cliff_ros.ros.runtime.middleware import for_large_messages

POLITE = 'import time\ntry:\n print("ready"); time.sleep(60)\nexcept KeyboardInterrupt:\n print("bye")'
STUBBORN = (
    'import signal, time\n'
    'for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n'
    'print("ready"); time.sleep(60)'
)


@pytest.fixture
def processes(tmp_path):
    with Processes(tmp_path / 'logs', dict(os.environ)) as processes:
        yield processes


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_child_is_interrupted_first(processes):
    processes.start('polite', ['-c', POLITE])
    wait_for(lambda: 'ready' in processes.tail('polite'))
    processes.check('polite')
    assert processes.running('polite')
    assert processes.stop('polite') == 0
    assert processes.tail('polite').splitlines() == ['ready', 'bye']


def test_a_child_that_refuses_is_killed(processes):
    processes.start('stubborn', ['-c', STUBBORN])
    wait_for(lambda: 'ready' in processes.tail('stubborn'))
    assert processes.stop('stubborn', patience=0.2) == -signal.SIGKILL


def test_a_failed_child_is_named_with_the_end_of_its_log(processes):
    processes.start('broken', ['-c', 'raise SystemExit("no camera here")'])
    wait_for(lambda: not processes.running('broken'))
    with pytest.raises(ProcessFailed, match=r'(?s)the broken process ended with exit code 1.*no camera here'):
        processes.check()


def test_a_child_may_end_unless_it_must_run(processes):
    processes.start('short', ['-c', ''])
    wait_for(lambda: not processes.running('short'))
    processes.check()
    with pytest.raises(ProcessFailed, match='exit code 0'):
        processes.check('short')


def test_all_are_stopped_when_something_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), Processes(tmp_path, dict(os.environ)) as processes:
        for name in ('one', 'two'):
            processes.start(name, ['-c', POLITE])
        raise ZeroDivisionError
    assert not processes.running('one') and not processes.running('two')


@pytest.mark.skipif(sys.platform != 'linux', reason='the kernel feature is Linux')
def test_a_killed_parent_takes_its_children_with_it(tmp_path):
    code = (
        'import os, time\nfrom pathlib import Path\nfrom cliff_ros.demo.processes import Processes\n'
        f'p = Processes(Path({str(tmp_path)!r}), dict(os.environ)).__enter__()\n'
        'p.start("child", ["-c", "import os, time; print(os.getpid()); time.sleep(60)"])\ntime.sleep(60)'
    )
    parent = subprocess.Popen([sys.executable, '-c', code])
    log = tmp_path / 'child.log'
    wait_for(lambda: log.exists() and log.read_text().strip())
    parent.kill()
    parent.wait()
    child = int(log.read_text())
    wait_for(lambda: not running(child))


def running(pid):
    """Whether a process runs; one that ended but that nobody has waited for does not."""
    try:
        with open(f'/proc/{pid}/stat') as stat:
            return stat.read().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def test_the_domain_is_nobody_elses():
    taken = free_domain()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as somebody:
        somebody.bind(('', 7400 + 250 * taken + 10))
        assert taken not in {free_domain() for _ in range(300)}


def test_the_graph_stays_on_this_machine(monkeypatch):
    monkeypatch.delenv('ROS_DISTRO', raising=False)
    env = ros_environment()
    assert env['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'LOCALHOST' and 1 <= int(env['ROS_DOMAIN_ID']) <= 100
    monkeypatch.setenv('ROS_DISTRO', 'humble')
    assert ros_environment()['ROS_LOCALHOST_ONLY'] == '1'


def test_large_messages_have_room_where_there_is_any(tmp_path):
    variable = 'FASTDDS_DEFAULT_PROFILES_FILE'
    env = for_large_messages({}, tmp_path, 1_000)
    if variable in env:
        assert '<maxMessageSize>1000<' in Path(env[variable]).read_text()
    assert for_large_messages({}, tmp_path, 10**15) == {}
    assert for_large_messages({variable: 'my.xml'}, tmp_path, 1_000) == {variable: 'my.xml'}
