"""Process time, peak memory and time by kind of work, in this process."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")


def tune_allocator() -> None:
    """Keep freed memory instead of giving it back to the kernel, which would make every large
    tensor pay for fresh pages; both sides profit (glibc).
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def seconds(action: Callable[[], object], repeats: int = 3) -> float:
    """The shortest process time of a few runs, after one to warm up."""
    action()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def peak_mb(action: Callable[[], object]) -> float:
    """Most memory that an action holds beyond what there was before, in MB: the kernel's high-water
    mark, set back before (Linux).
    """
    gc.collect()
    libc = ctypes.CDLL(None)
    libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    action()
    return (_status("VmHWM") - before) / 1e3


def _status(name: str) -> float:
    """A figure of /proc/self/status in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[1]) * 1.024


def product_share(action: Callable[[], object]) -> float:
    """Share of the time on the CPU that is spent in matrix products."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        action()
    events = profiled.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    return float(
        sum(event.self_cpu_time_total for event in events if event.key in PRODUCTS) / total
    )


def one_thread() -> None:
    """With other load on the machine threads spin: one thread, and process time, so that ratios can
    be compared.
    """
    torch.set_num_threads(1)
