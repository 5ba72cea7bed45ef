"""Throughput and scale: what an SLB of the shared tier is sold for, and what it costs here.

    python -m benchmarks.scale                 all of it, about nine minutes
    python -m benchmarks.scale --quick         small numbers of everything: only whether it runs
    python -m benchmarks.scale --only calls    one section; may be said more than once
    python -m benchmarks.scale --json FILE     all figures, for `benchmarks.scale.page`

CPU is the client process's own, all its threads together; the nodes are other processes.
"""
