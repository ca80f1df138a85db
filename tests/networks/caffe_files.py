"""Files as Caffe writes them, of random weights, and CaffeNet's graph in Caffe's own language."""

from pathlib import Path

import numpy as np

from corrcore.networks import caffemodel

SHAPES = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    "fc6": (4096, 9216),
    "fc7": (4096, 4096),
    "fc8": (1000, 4096),
}
CONVOLUTIONS = tuple(SHAPES)[:5]
ORDER = (
    *("data", "conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2", "conv3", "relu3"),
    *("conv4", "relu4", "conv5", "relu5", "pool5", "fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8", "prob"),
)

Arrays = dict[str, tuple[np.ndarray, np.ndarray]]


def random_weights(names: tuple[str, ...] = CONVOLUTIONS, seed: int = 0) -> Arrays:
    """Weights and biases by layer, BGR as Caffe has them, so large that activations keep the size that pixels have.

    Normalisation would otherwise change next to nothing.
    """
    random = np.random.default_rng(seed)
    arrays = {}
    for name in names:
        weight = random.standard_normal(SHAPES[name], np.float32)
        weight *= np.float32(np.sqrt(2 / np.prod(SHAPES[name][1:])))
        arrays[name] = weight, 10 * random.standard_normal(SHAPES[name][0], np.float32)
    return arrays


def write(path: Path, arrays: Arrays, *, older: bool = False, order: tuple[str, ...] = ORDER) -> Path:
    """A ``.caffemodel``, as Caffe writes it, or as it did before 2014's change, with four sides for every array."""
    net = caffemodel.messages().net()
    for name in order:
        layer = (net.layers if older else net.layer).add(name=name.encode())
        for array in arrays.get(name, ()):
            fill(layer.blobs.add(), array, older=older)
    path.write_bytes(net.SerializeToString())
    return path


def fill(blob, array: np.ndarray, *, older: bool = False, double: bool = False) -> None:
    """An array, as Caffe writes it."""
    if older:
        blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
    else:
        blob.shape.dim.extend(array.shape)
    if double:
        blob.double_data.append(array.astype("<f8").tobytes())
    else:
        blob.data.append(array.astype("<f4").tobytes())


def prototxt(width: int, height: int, *, fully_connected: bool = False) -> str:
    """CaffeNet's graph for images of one size, as Caffe's model zoo has it in ``deploy.prototxt``."""
    text = f'name: "CaffeNet" input: "data" input_shape {{ dim: 1 dim: 3 dim: {height} dim: {width} }}\n'
    for line in (_GRIDS + _FULLY_CONNECTED if fully_connected else _GRIDS).split("\n"):
        if not line:
            continue
        name, kind, bottom, top, parameters = (part.strip() for part in line.split("|"))
        text += f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {parameters} }}\n'
    return text


_GRIDS = """
conv1 | Convolution | data | conv1 | convolution_param { num_output: 96 kernel_size: 11 stride: 4 }
relu1 | ReLU | conv1 | conv1 |
pool1 | Pooling | conv1 | pool1 | pooling_param { pool: MAX kernel_size: 3 stride: 2 }
norm1 | LRN | pool1 | norm1 | lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }
conv2 | Convolution | norm1 | conv2 | convolution_param { num_output: 256 pad: 2 kernel_size: 5 group: 2 }
relu2 | ReLU | conv2 | conv2 |
pool2 | Pooling | conv2 | pool2 | pooling_param { pool: MAX kernel_size: 3 stride: 2 }
norm2 | LRN | pool2 | norm2 | lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }
conv3 | Convolution | norm2 | conv3 | convolution_param { num_output: 384 pad: 1 kernel_size: 3 }
relu3 | ReLU | conv3 | conv3 |
conv4 | Convolution | conv3 | conv4 | convolution_param { num_output: 384 pad: 1 kernel_size: 3 group: 2 }
relu4 | ReLU | conv4 | conv4 |
conv5 | Convolution | conv4 | conv5 | convolution_param { num_output: 256 pad: 1 kernel_size: 3 group: 2 }
relu5 | ReLU | conv5 | conv5 |
pool5 | Pooling | conv5 | pool5 | pooling_param { pool: MAX kernel_size: 3 stride: 2 }
"""
_FULLY_CONNECTED = """
fc6 | InnerProduct | pool5 | fc6 | inner_product_param { num_output: 4096 }
relu6 | ReLU | fc6 | fc6 |
drop6 | Dropout | fc6 | fc6 | dropout_param { dropout_ratio: 0.5 }
fc7 | InnerProduct | fc6 | fc7 | inner_product_param { num_output: 4096 }
relu7 | ReLU | fc7 | fc7 |
drop7 | Dropout | fc7 | fc7 | dropout_param { dropout_ratio: 0.5 }
fc8 | InnerProduct | fc7 | fc8 | inner_product_param { num_output: 1000 }
"""
