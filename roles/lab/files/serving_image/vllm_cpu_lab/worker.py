"""A CPU worker that holds its device node open, as a process on an XPU does.

So the placement of ranks on devices is read back in the same way in the lab and on accelerators: from the open
files of the worker's process (``/proc/PID/fd``).
"""

from __future__ import annotations

from pathlib import Path

from vllm.v1.worker.cpu_worker import CPUWorker


class LabWorker(CPUWorker):
    """vLLM's CPU worker, bound to the device node that the executor chose for it."""

    def init_device(self) -> None:
        """Open ``/dev/xpuN`` for the rest of the process's life; a host without such nodes computes all the same."""
        chosen = self.parallel_config.assigned_physical_gpu_ids
        node = Path(f"/dev/xpu{chosen[self.local_rank] if chosen else self.local_rank}")
        if node.exists():
            self.device_node = node.open("rb", buffering=0)
        super().init_device()
