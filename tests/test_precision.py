import threading

import pytest
import torch

from corrcore.precision import single_precision
from tests.networks import tiny
from tests.networks.test_module import photo

CUDA = torch.device("cuda")


def test_tf32_stays_off_until_the_last_has_left_and_then_is_what_it_was():
    assert torch.backends.cudnn.allow_tf32
    both = threading.Barrier(2)

    def other():
        with single_precision(CUDA):
            both.wait()
            both.wait()

    thread = threading.Thread(target=other)
    thread.start()
    with single_precision(CUDA):
        both.wait()
    assert not torch.backends.cudnn.allow_tf32  # the other is still within
    both.wait()
    thread.join()
    assert torch.backends.cudnn.allow_tf32
    with single_precision(torch.device("cpu")):
        assert torch.backends.cudnn.allow_tf32


def test_what_others_have_chosen_is_left_as_it_is():
    switch = torch.backends.cudnn
    try:
        switch.allow_tf32 = False
        with single_precision(CUDA):
            pass
        assert not switch.allow_tf32
        switch.allow_tf32 = True
        switch.conv.fp32_precision = "ieee"  # the older switch can no longer be read
        with single_precision(CUDA):
            pass
        assert (switch.conv.fp32_precision, switch.rnn.fp32_precision) == ("ieee", "tf32")
    finally:
        switch.allow_tf32 = True


@pytest.mark.gpu
def test_a_network_on_a_cuda_device_runs_without_tf32(cuda):
    network, seen = tiny.spec().open(weights=tiny.weights(), device=cuda), []
    image = photo(61, 50)

    def look(_, given):
        if given[0].is_cuda:  # and not on its way to the layers' geometry
            seen.append(torch.backends.cudnn.allow_tf32)

    with torch.nn.modules.module.register_module_forward_pre_hook(look):
        network.extract(image, ["second"])
    assert seen
    assert not any(seen)
