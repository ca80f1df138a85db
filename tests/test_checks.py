"""While tests run, arguments are compared with their annotations, shapes included, wherever annotations have shapes."""

from pathlib import Path

import jaxtyping
import numpy as np
import pytest

import corrcore
from corrcore import metrics


def test_modules_whose_annotations_have_shapes_are_checked(request):
    *checked, _ = request.config.getoption("jaxtyping_packages").split(",")
    root = Path(corrcore.__file__).parent
    with_shapes = [path for path in root.rglob("*.py") if "from jaxtyping import" in path.read_text()]
    names = [".".join(path.relative_to(root.parent).with_suffix("").parts) for path in with_shapes]
    missed = [name for name in names if not any(f"{name}.".startswith(f"{each}.") for each in checked)]
    assert len(names) > 50
    assert not missed


def test_arrays_of_other_shapes_are_refused():
    with pytest.raises(jaxtyping.TypeCheckError, match="second"):
        metrics.mcnemar(np.ones(3, bool), np.ones(4, bool))
    assert metrics.mcnemar(np.ones(3, bool), np.ones(3, bool)).p == 1
