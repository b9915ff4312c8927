import torch
from tiny_training import make_task

from vision_attn.engine.average import Average


def test_average_follows_the_recurrence_with_warm_up():
    task = make_task(norm=True)
    average = Average(task, decay=0.5)
    expected = task.model.head.weight.detach().double()
    for step in range(1, 13):
        with torch.no_grad():
            task.model.head.weight.add_(step)
            task.model.norm.num_batches_tracked.add_(1)
        average.update(task, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * task.model.head.weight.double()
    torch.testing.assert_close(average.task.model.head.weight.double(), expected, rtol=1e-6, atol=0)
    assert average.task.model.norm.num_batches_tracked == 12


def test_average_is_apart_from_the_task_and_has_no_gradient():
    task = make_task()
    average = Average(task, decay=0.9)
    assert not any(p.requires_grad for p in average.task.parameters())
    assert all(p.requires_grad for p in task.parameters())
    shared = {p.data_ptr() for p in task.parameters()} & {
        p.data_ptr() for p in average.task.parameters()
    }
    assert not shared
