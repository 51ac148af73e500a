"""The page in a real browser: people appear and move where they were published, pause and step, and nobody waits."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from browser import SIZE, bytes_of_image, chromium, hide_notes, of_colors

pytest.importorskip('viser', reason="needs the extra 'view'")

from cliff_ros.body import load_body
from cliff_ros.render.colors import color_of
from cliff_ros.render.overlay import draw_people
from cliff_ros.synthetic import Sequence
from cliff_ros.view.moment import Moment
from cliff_ros.view.panel import VIEWS
from cliff_ros.view.viewer import Viewer

WIDTH, HEIGHT = 480, 270
TABLE, PICTURE, SCENE = '#cliff-people tr[data-id]', 'img[src^="blob:"]', 'canvas'
PATIENCE = 60_000  # [ms]


@pytest.fixture(scope='module')
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope='module')
def moments():
    """Four moments of two people who walk, a second apart."""
    scene = Sequence(seed=4, width=WIDTH, height=HEIGHT, fps=1.0, seconds=4, people=2)
    body = load_body()
    return [Moment(scene.camera, scene.truth(i), body, scene.image(i), float(i), 20.0 + i) for i in range(4)]


@pytest.fixture(scope='module')
def viewer():
    with Viewer(port=0, rate=100.0) as made:
        yield made


@pytest.fixture(scope='module')
def page(browser, viewer):
    """One for all tests: a page draws its first picture in seconds, on a CPU."""
    made = browser.new_page(viewport=SIZE)
    made.goto(viewer.url)
    assert until(lambda: viewer.watched)
    hide_notes(made)
    return made


def until(condition, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def show(viewer, moment) -> None:
    """Show it, and wait until it was drawn."""
    before = viewer.drawn
    viewer.show(moment)
    assert until(lambda: viewer.drawn > before)


def table_of(moment) -> list[list[str]]:
    """What the page's table should say."""
    return [[f'#{person.id}', f'{np.linalg.norm(person.joints[0]):.2f} m'] for person in moment.people]


def wait_for_table(page, moment) -> None:
    wanted = table_of(moment)
    page.wait_for_function(
        """([selector, wanted]) => {
            const texts = row => [...row.cells].map(cell => cell.innerText);
            const rows = [...document.querySelectorAll(selector)].map(texts);
            return rows.length == wanted.length && wanted.every(
                (row, i) => rows[i][0].endsWith(row[0]) && rows[i][1] == row[1]);
        }""",
        arg=[TABLE, wanted],
        timeout=PATIENCE,
    )


def test_people_appear_move_and_are_drawn_where_they_were_published(page, viewer, moments):
    for moment in (moments[0], moments[3]):
        show(viewer, moment)
        time.sleep(0.25)  # numbers change five times a second at most
        show(viewer, moment)
        wait_for_table(page, moment)
        expected = draw_people(moment.image, moment.people, moment.camera, moment.body.faces)

        def error(expected=expected) -> float:
            shown = cv2.imdecode(np.frombuffer(bytes_of_image(page, PICTURE), np.uint8), cv2.IMREAD_COLOR)
            return np.abs(shown[..., ::-1].astype(float) - expected).mean()

        assert until(lambda: error() < 4), error()  # JPEG; another moment differs by more
    other = draw_people(moments[0].image, moments[0].people, moments[0].camera, moments[0].body.faces)
    assert error(other) > 4


def test_the_scene_shows_the_bodies_from_where_the_camera_is(page, viewer, moments):
    moment = moments[1]
    show(viewer, moment)
    wait_for_table(page, moment)
    viewer.look_from(VIEWS[1])
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for person in moment.people:
        alone = draw_people(
            np.zeros_like(moment.image), [person], moment.camera, moment.body.faces, box=False, label=False
        )
        mask |= alone.any(-1)
    colors = [color_of(person.id) for person in moment.people]

    def overlap() -> float:
        """Of what has people's colors in the 3D canvas with their outlines (IoU)."""
        picture = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        box = page.locator(SCENE).first.bounding_box()
        left, top, width, height = (round(box[key]) for key in ('x', 'y', 'width', 'height'))
        canvas = picture[top : top + height, left : left + width]
        scale = min(width / WIDTH, height / HEIGHT)  # the camera's picture fits into the window, in its middle
        wide, high = round(WIDTH * scale), round(HEIGHT * scale)
        x, y = (width - wide) // 2, (height - high) // 2
        seen = of_colors(canvas[max(y, 0) : y + high, max(x, 0) : x + wide], colors)
        expected = cv2.resize(mask.astype(np.uint8), seen.shape[::-1]).astype(bool)
        return float((seen & expected).sum() / max(1, (seen | expected).sum()))

    assert until(lambda: overlap() > 0.7), overlap()


def test_pause_step_and_going_on(page, viewer, moments):
    show(viewer, moments[0])
    wait_for_table(page, moments[0])
    page.get_by_role('button', name='Pause').click(timeout=PATIENCE)
    assert until(lambda: viewer.control.paused)
    drawn = viewer.drawn
    viewer.show(moments[1])
    time.sleep(0.3)
    assert viewer.drawn == drawn and not viewer.control.wants
    page.get_by_role('button', name='Step').click(timeout=PATIENCE)
    assert until(lambda: viewer.control.wants or viewer.drawn > drawn)
    viewer.show(moments[2])
    wait_for_table(page, moments[2])
    assert viewer.drawn == drawn + 1 and viewer.control.paused
    page.get_by_role('button', name='Go on').click(timeout=PATIENCE)
    assert until(lambda: not viewer.control.paused)
    show(viewer, moments[3])
    wait_for_table(page, moments[3])


def test_who_leaves_keeps_nobody_waiting_and_finds_everything_again(page, viewer, moments, browser):
    show(viewer, moments[0])
    wait_for_table(page, moments[0])
    page.close()
    assert until(lambda: not viewer.watched)
    drawn = viewer.drawn
    for moment in moments * 50:
        viewer.show(moment)
    assert viewer.drawn == drawn
    again = browser.new_page(viewport=SIZE)
    again.goto(viewer.url)
    wait_for_table(again, moments[3])  # the newest, at once
    again.close()


def test_places_are_taken_over(moments):
    """However many ids come and go, the page's memory and the server's stay what they are."""
    with Viewer(port=0, rate=100.0) as viewer:
        viewer.control.watch(True)
        remembered = []
        for i in range(12):
            moment = moments[i % 4]
            people = [person.with_(id=10 * i + n) for n, person in enumerate(moment.people)]
            show(viewer, Moment(moment.camera, people, moment.body, None, float(i)))
            buffer = viewer._server.viser._websock_server.get_message_buffer()
            remembered.append(len(buffer.message_from_id))
        assert max(remembered[6:]) <= max(remembered[:6])


def test_what_must_be_covered_is_covered_before_it_leaves(moments):
    """Whatever the viewer was told: a node that covers people has them covered here too. No browser is needed."""
    import dataclasses

    from cliff_ros.render.privacy import covered

    with Viewer(port=0, rate=100.0, privacy='faces') as viewer:
        viewer.control.watch(True)
        sent = viewer._server.viser._websock_server.get_message_buffer()
        for mode, expected in (('off', 'faces'), ('people', 'people')):
            moment = dataclasses.replace(moments[1], privacy=mode)
            show(viewer, moment)
            image = covered(moment.image, moment.people, moment.camera, expected)
            picture = draw_people(image, moment.people, moment.camera, moment.body.faces)
            messages = list(sent.message_from_id.values())
            jpegs = [
                value
                for message in messages
                for value in (getattr(message, 'updates', None) or {}).values()
                if isinstance(value, bytes)
            ]
            shown = [cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] for one in jpegs]
            assert len(shown) == 2  # in the panel, and in the camera's frustum
            for one in shown:
                wanted = min(np.abs(one.astype(float) - other).mean() for other in (image, picture))
                assert wanted < 4
            assert any(b'covered' in str(message).encode() for message in messages)
