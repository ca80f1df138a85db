"""What a GPU's compiler says of our kernels, without a GPU."""

import subprocess

import pytest

from corrcore.engines.mrf import on_triton

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not on_triton.AVAILABLE, reason="needs Triton")]

TYPES = {"costs": "*fp32", "forth": "*fp32", "back": "*fp32", "labels": "*i64", "lessened": "*fp32"}
NUMBERS = {"smoothness": "fp32", "number": "i32", "first": "i32", "rows": "i32", "columns": "i32"}


@pytest.mark.parametrize(("forth", "side", "warps"), [(True, 31, 4), (False, 31, 4), (True, 60, 16)])
def test_a_step_of_messages_compiles_for_hopper_and_keeps_all_in_registers(tmp_path, forth, side, warps):
    from triton import compile as compiled
    from triton import knobs
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    power = 1 << (side - 1).bit_length()
    constants = {"height": side, "width": side, "TALL": power, "WIDE": power, "FORTH": forth, "REWEIGHTED": True}
    names = on_triton.step.arg_names
    assert set(names) == {*TYPES, *NUMBERS, *constants}
    source = ASTSource(
        fn=on_triton.step,
        signature={name: {**TYPES, **NUMBERS}.get(name, "constexpr") for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
    )
    found = compiled(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": True, "num_warps": warps})
    assert found.asm["cubin"]
    assert "ld.global.nc" not in found.asm["ptx"]  # lines that a program has just written are not read past it
    (tmp_path / "step.ptx").write_text(found.asm["ptx"])
    command = [knobs.nvidia.ptxas.path, "-v", "--gpu-name=sm_90a", "step.ptx", "-o", "step.cubin"]
    told = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, encoding="utf-8").stderr
    assert "0 bytes spill stores, 0 bytes spill loads" in told
