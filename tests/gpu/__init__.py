"""The CUDA paths, checked and measured in one go: ``python -m tests.gpu [--json FILE]``.

With a CUDA device: all tests marked ``gpu``, which compare with the processor, and then the benchmarks that a GPU has,
beside the bars and beside what its bandwidth and products, measured in the same run, allow at best. A table, and JSON
where that is asked for. Every step is a process of its own with a limit of its own: one that crashes, hangs or runs
out of memory costs its line. Eight minutes at most.

Without one: the same tests on `pretended`, where tensors lie on the processor and refuse what a device refuses; steps
of messages in Triton's interpreter, and by its compiler; the benchmarks' code, at sizes that tell nothing of speed.
"""
