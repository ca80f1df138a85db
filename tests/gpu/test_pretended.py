"""What pretends to be a device refuses what a device refuses."""

import threading

import numpy as np
import pytest
import torch

from tests.gpu.pretended import REAL, pretended

pytestmark = pytest.mark.skipif(REAL, reason="a device is here")


@pytest.fixture
def there():
    with pretended() as device:
        yield torch.arange(6.0).view(2, 3).to(device)


@pytest.mark.parametrize(
    "mixed",
    [
        lambda there: there + torch.ones(2, 3),
        lambda there: torch.ones(2, 3) * there,
        lambda there: torch.cat([there, torch.ones(2, 3)]),
        lambda there: there.gather(1, torch.zeros(2, 1, dtype=torch.int64)),
        lambda there: torch.where(torch.ones(2, 3) > 0, there, there),
        lambda there: torch.nn.functional.linear(there, torch.ones(4, 3)),
        lambda there: there.masked_fill_(torch.ones(2, 3) > 0, 0),
    ],
)
def test_operands_of_two_devices_are_refused(there, mixed):
    with pytest.raises(RuntimeError, match="to be on the same device"):
        mixed(there)


@pytest.mark.parametrize("seen", [lambda there: there.numpy(), np.asarray])
def test_numpy_sees_nothing_of_what_is_there(there, seen):
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        seen(there)


def test_what_a_device_takes_is_taken_and_stays_there(there):
    made = [
        there[torch.tensor([1, 0])],
        there * 2,
        there.split(1)[0],
        there.half(),
        torch.zeros(3, device=there.device),
    ]
    made += [there.new_ones(2), torch.ones(2).to(there), torch.as_tensor(there), torch.stack([there, there]).sum(0)]
    made += [torch.nn.Linear(3, 2).to("cuda")(there)]
    there[0] = torch.ones(3)
    assert all(each.device.type == "cuda" and each.is_cuda for each in made)
    here = there.cpu()
    assert (here.device.type, here.numpy().tolist()) == ("cpu", [[1, 1, 1], [3, 4, 5]])
    here[:] = 0
    assert float(there.sum()) == 15  # a copy


def test_threads_have_the_device_too(there):
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.ones(2, device="cuda").device.type))
    thread.start()
    thread.join()
    assert found == ["cuda"]


def test_nothing_has_room_that_is_larger_than_the_device():
    with pretended(most_bytes=100) as device:
        torch.zeros(25, device=device)
        with pytest.raises(torch.OutOfMemoryError):
            torch.zeros(26, device=device)
