"""AlexNet's five convolutions on a 500 x 500 picture, beside torch as it comes and onnxruntime.

By one thread on a processor. The peers compute the same from the same pixels that are floats already; ours begins with
bytes. Options: threads, and batch, the pictures at a time on a GPU.
"""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torchvision
from skimage.data import astronaut
from torch import nn

from corrcore import images, networks
from tests.benchmarks.measure import Bar, Kind, Row, Run, Work

SIDE = 500
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5")


def onnx_session(model: nn.Sequential, threads: int) -> Callable[[np.ndarray], list[np.ndarray]]:
    """The same convolutions by onnxruntime, each one's output given."""
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    nodes, weights, outputs, last = [], [], [], "pixels"
    for number, module in enumerate(model):
        name = f"after{number}"
        if isinstance(module, nn.Conv2d):
            for kind in ("weight", "bias"):
                array = np.ascontiguousarray(getattr(module, kind).detach().numpy())
                weights.append(numpy_helper.from_array(array, f"{kind}{number}"))
            inputs = [last, f"weight{number}", f"bias{number}"]
            padding = [*module.padding, *module.padding]
            nodes.append(helper.make_node("Conv", inputs, [name], strides=list(module.stride), pads=padding))
        elif isinstance(module, nn.MaxPool2d):
            nodes.append(helper.make_node("MaxPool", [last], [name], kernel_shape=[3, 3], strides=[2, 2]))
        else:
            nodes.append(helper.make_node("Relu", [last], [name]))
            outputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        last = name
    pixels = helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "convolutions", [pixels], outputs, weights)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(built.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, {"pixels": given})


def work_of(model: nn.Sequential, kind: Kind, itemsize: int = 4, n: int = 1) -> Work:
    """Of a picture of `n`: what all convolutions add up; weights read once for all, and each one's output written."""
    amount, total, values = 0, 0, torch.zeros(1, 3, SIDE, SIDE)
    for module in model:
        values = module(values)
        if isinstance(module, nn.Conv2d):
            amount += values.numel() + module.weight.numel() / n
            total += 2 * module.weight.numel() * values.shape[2] * values.shape[3]
    return Work(itemsize * amount, total, kind)


def run_through(stages: nn.Sequential, values: torch.Tensor) -> list[torch.Tensor]:
    """Torch as it comes."""
    found = []
    for module in stages:
        values = module(values)
        if isinstance(module, nn.ReLU):
            found.append(values)
    return found


@torch.no_grad()
def rows(run: Run) -> Iterator[Row]:
    picture = images.resize_to(astronaut(), height=SIDE, width=SIDE)
    model = torchvision.models.alexnet(weights=None).eval()
    weights = model.state_dict()
    stages = model.features[:12]
    if run.on_gpu:
        yield from on_gpu(run, picture, model)
        return
    threads = run.option("threads", 1)
    with run.threads(threads):
        network = networks.spec("alexnet").open(weights=weights, device="cpu")
        pixels = network.normalised(picture[None]).contiguous()
        work = work_of(stages, "single, 1 thread" if threads == 1 else "single")
        session = onnx_session(stages, threads)
        ours = network.extract(picture, LAYERS)["conv5"].descriptors.permute(2, 0, 1)
        worst = max(
            float((ours - torch.as_tensor(its[-1][0])).abs().max())
            for its in (run_through(stages, pixels), session(pixels.numpy()))
        )
        times = run.medians(
            {
                "ours": lambda: network.extract(picture, LAYERS),
                "torch": lambda: run_through(stages, pixels),
                "onnxruntime": lambda: session(pixels.numpy()),
            },
            15,
        )
        for peer, bar in (("torch", 95 / 77), ("onnxruntime", None)):  # where torch as it comes took 95 ms: 77
            yield Row(
                f"AlexNet's conv1 to conv5, {SIDE} x {SIDE} px, threads: {threads}",
                times["ours"], peer, times[peer], bar and Bar.ratio(round(bar, 2)), work, right=worst < 1e-4,
            )  # fmt: skip


@torch.no_grad()
def on_gpu(run: Run, picture: np.ndarray, model: nn.Module) -> Iterator[Row]:
    """Batches of many pictures, in single and in half precision, from pixels that are bytes on the processor."""
    n = run.option("batch", 32)
    expected = run_through(
        model.features[:12],
        networks.spec("alexnet").open(weights=model.state_dict(), device="cpu").normalised(picture[None]),
    )[-1][0]
    kinds: dict[torch.dtype, Kind] = {torch.float32: "single", torch.float16: "half"}
    for dtype, kind in kinds.items():
        work = work_of(model.features[:12], kind, dtype.itemsize, n)
        network = networks.spec("alexnet").open(weights=model.state_dict(), device=run.device, dtype=dtype)
        stages = copy.deepcopy(model.features[:12]).to(run.device, dtype)
        pixels = network.normalised(np.stack([picture] * n))
        calls = {
            "ours": lambda network=network: network.extract_batch([picture] * n, LAYERS),
            "torch": lambda stages=stages, pixels=pixels: run_through(stages, pixels),
        }
        times, got = run.timed(calls, 9)
        found = got["ours"][0]["conv5"].descriptors.permute(2, 0, 1).cpu().float()
        away = float((found - expected).norm() / expected.norm())
        yield Row(
            f"AlexNet's conv1 to conv5, {SIDE} x {SIDE} px, {dtype}, per picture of {n}",
            times["ours"] / n, "torch", times["torch"] / n, None, work,
            right=away < (1e-4 if kind == "single" else 5e-3), note=f"off by {away:.1e} of the processor's",
        )  # fmt: skip
