"""What is fast, beside what else does it, and how far from the machine's limit: ``python -m tests.benchmarks``.

    python -m tests.benchmarks [--quick] [--json FILE] [--instructions avx2] [NAME ...]

A row of the table is one thing that is computed: the median time of ours, of one peer's, taken in turn in the same run,
their ratio, the bar, and the floor that the machine sets, whose bandwidth and products are measured in the same run.
On a busy machine only ratios mean something. Every subject runs in a process of its own: one that fails costs its rows.

To add a subject, write a module here with one function and enter its name in ``subjects.SUBJECTS``:

    def rows(run: Run) -> Iterator[Row]:
        size = 2_000 if run.quick else 20_000  # all subjects together take five minutes at most when quick
        times = run.medians({"ours": lambda: ..., "faiss": lambda: ...}, rounds=9)
        yield Row("what is computed, and of which size", times["ours"], peer="faiss", theirs=times["faiss"],
                  bar=Bar.ratio(4), work=Work(bytes=4 * n * d, operations=2 * n * d))

`measure` has these types: `Run.medians` is the one place where anything is timed, `Bar` has the three kinds of bars,
`Row.right` says whether what was computed is as it should be. A subject that runs on a GPU too asks ``run.device`` and
is in ``subjects.ON_GPU``; there the floor is that device's. Sizes and inputs that one may want to set are
``run.option("rows", 1_000_000)``, given as ``--option rows=400000``.
"""
