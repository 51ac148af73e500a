"""A process knows from a file of its launch how often it was started, and waits longer each time."""

from cliff_ros.ros.runtime.restarts import BRING_UP, LONGEST_DELAY, Restarts, environment, note_start


def test_restarts_are_counted_and_wait_ever_longer(tmp_path):
    env = environment(tmp_path, bring_up=True)
    found = [note_start(env, now=1000.0 + 5 * i) for i in range(12)]
    assert [one.count for one in found] == list(range(12))
    assert [one.delay for one in found[:5]] == [0.0, 0.0, 2.0, 4.0, 8.0] and found[-1].delay == LONGEST_DELAY
    assert not found[0].bring_up and all(one.bring_up for one in found[1:])
    # What is long ago does not count any more.
    assert note_start(env, now=9000.0) == Restarts(12, 0.0, True)


def test_without_a_launch_or_with_a_file_that_cannot_be_used_nothing_is_waited_for(tmp_path):
    assert note_start({}) == Restarts()
    env = environment(tmp_path / 'gone', bring_up=False)
    assert BRING_UP not in env and note_start(env) == Restarts() == note_start(env)
    env = environment(tmp_path, bring_up=True)
    (tmp_path / 'starts').write_text('no number\n')
    assert note_start(env) == Restarts()
