"""What a machine is, which of its instructions are in use, and how fast it can be at most."""

import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.measure import Run
from tests.gpu.pretended import REAL

# What keeps libraries from instructions that the processor has: a process that starts with these sees what a laptop
# without AVX-512 gets.
INSTRUCTIONS = {
    "avx2": {
        "NUMBA_CPU_NAME": "znver3",
        "NUMBA_CPU_FEATURES": "+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+popcnt",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "FAISS_OPT_LEVEL": "avx2",
        "OPENBLAS_CORETYPE": "Haswell",
    }
}
PACKAGES = (
    *("torch", "numpy", "numba", "triton", "scikit-learn", "faiss-cpu", "opencv-python-headless", "onnxruntime"),
    *("scikit-image", "streamlit"),
)


def limits(run: Run) -> dict[str, float]:
    """Bytes per second that are read and copied, and operations per second of matrix products: the best of a few."""
    found: dict[str, float] = {}

    def best(name: str, amount: float, call: Callable[[], object], times: int = 5) -> None:
        call()
        found[name] = max(found.get(name, 0), amount / min(run.seconds(call) for _ in range(times)))

    n = 1 << (30 if run.on_gpu else 26)  # numbers, far more than caches hold
    numbers = torch.ones(n, device=run.device)
    other = torch.empty_like(numbers)
    best("read", 4 * n, lambda: torch.sum(numbers))
    best("copy", 8 * n, lambda: other.copy_(numbers))
    side = 8192 if run.on_gpu else 2048
    products = 2 * side**3
    kinds = {"single": torch.float32, "half": torch.float16, "double": torch.float64}
    for kind in kinds if run.on_gpu else ("single",):
        matrix = torch.rand(side, side, device=run.device).to(kinds[kind])
        best(kind, products, lambda matrix=matrix: matrix @ matrix)
    if not run.on_gpu:
        # By oneDNN, too, for the library of torch's products does not use all that every processor has.
        values, weights = torch.rand(1, 256, 64, 64), torch.rand(256, 256, 3, 3)
        values, weights = (each.contiguous(memory_format=torch.channels_last) for each in (values, weights))
        sums = 2 * weights.numel() * 64 * 64
        best("single", sums, lambda: torch.conv2d(values, weights, padding=1))
        with run.threads(1):
            best("single, 1 thread", sums, lambda: torch.conv2d(values, weights, padding=1))
            best("single, 1 thread", products, lambda: matrix @ matrix, 3)
        if torch.backends.mkldnn.is_available():
            codes = torch.ones(side, side, dtype=torch.int8)
            best("int8", products, lambda: torch._int_mm(codes, codes))
    return found


def description() -> dict[str, Any]:
    """The processor, the instructions that libraries use, the GPU, and versions."""
    from llvmlite import binding

    in_use = {"torch": torch.backends.cpu.get_cpu_capability()}
    in_use["numba"] = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
    in_use |= {name: os.environ[name] for name in INSTRUCTIONS["avx2"] if os.environ.get(name)}
    found = {
        "processor": processor(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": in_use,
        "load": os.getloadavg()[0],  # processes that wanted to run, on average over the last minute
        "system": platform.platform(),
        "versions": {"python": platform.python_version(), **dict(_versions())},
    }
    if torch.cuda.is_available() and REAL:
        device = torch.cuda.get_device_properties(0)
        found["gpu"] = {"name": device.name, "memory": device.total_memory, "cuda": torch.version.cuda}
    return found


def processor() -> str:
    """Its name, and family and model where Linux tells them, for one name may stand for many."""
    about = Path("/proc/cpuinfo")
    if not about.exists():
        return platform.processor() or platform.machine()
    pairs = [line.partition(":")[::2] for line in about.read_text().splitlines() if ":" in line]
    told = {name.strip(): value.strip() for name, value in reversed(pairs)}
    name = told.get("model name") or platform.machine()
    return f"{name} (family {told['cpu family']}, model {told['model']})" if "cpu family" in told else name


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return found
