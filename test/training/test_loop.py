"""The loop that every training shares: it learns, it stops and goes on as if it had not, it does with less memory."""

from __future__ import annotations

import pytest

torch = pytest.importorskip('torch')

from cliff_ros.errors import InputError
from cliff_ros.training.loop import LAST, Stage


class Line(Stage[torch.nn.Linear]):
    """A line through noisy points. Its batches depend on the step alone, so that a stopped one meets the same."""

    name, warmup = 'line', 5

    def __init__(self, steps: int, checkpoint=None, stops_after: int | None = None, **options) -> None:
        torch.manual_seed(0)
        self.seen, self.batch, self.stops_after = [], 64, stops_after
        super().__init__(
            torch.nn.Linear(3, 1), 0.05, lambda count: count / steps, checkpoint, log=lambda *_: None, **options
        )

    @property
    def batch_size(self) -> int:
        return self.batch

    def loss(self):
        if self.count == self.stops_after:
            raise KeyboardInterrupt
        points = torch.randn(self.batch, 3, generator=torch.Generator().manual_seed(self.count))
        off = self.module(points)[:, 0] - points @ torch.tensor([1.0, -2.0, 0.5]) - 3
        loss = (off**2).mean()
        self.seen.append(loss.item())
        return loss, {'loss': loss}

    def look(self, when: str) -> None:
        self.looked = when


def test_the_loss_falls_and_the_average_is_what_is_left():
    stage = Line(150)
    network = stage.run()
    assert stage.count == 150 and stage.samples == 150 * 64 and stage.looked == LAST
    assert stage.seen[-1] < 0.05 * stage.seen[0]
    assert network is stage.average.module and not network.training
    assert not torch.equal(network.weight, stage.module.weight)
    torch.testing.assert_close(network.weight, torch.tensor([[1.0, -2.0, 0.5]]), atol=0.3, rtol=0)


def test_a_stopped_training_goes_on_as_if_it_had_not(tmp_path):
    whole = Line(30)
    whole.run()
    path = tmp_path / 'line.pt'
    with pytest.raises(KeyboardInterrupt):
        Line(30, path, stops_after=11).run()
    assert torch.load(path, weights_only=True)['step'] == 11
    again = Line(30, path)
    again.run()
    assert len(again.seen) == 19 and again.seen == whole.seen[11:]
    for one, other in ((again.module, whole.module), (again.result, whole.result)):
        assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))
    Line(30, path).run()  # what is over takes one more step, and no harm
    assert torch.load(path, weights_only=True)['step'] == 31


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    torch.save({'step': 3, 'optimizer': {}}, tmp_path / 'line.pt')
    with pytest.raises(InputError, match=r'lacks .*network.*delete it'):
        Line(5, tmp_path / 'line.pt').run()


def test_where_memory_is_short_batches_shrink_or_the_error_is_told():
    class Large(Line):
        def loss(self):
            if self.batch > 40:
                raise torch.OutOfMemoryError('CUDA out of memory')
            return super().loss()

    with pytest.raises(torch.OutOfMemoryError):
        Large(3).run()

    class Shrinking(Large):
        def shrink(self) -> bool:
            self.batch //= 2
            return True

    stage = Shrinking(3)
    stage.run()
    assert (stage.count, stage.batch, stage.samples) == (3, 32, 96)
