"""A CPU that behaves like one accelerator of a cluster.

Differences from vLLM's own CPU platform, facts from vLLM 0.32.0:

* Ray may place workers on it. ``CpuPlatform.ray_device_key`` is empty, with which the Ray executors refuse to start;
  FlagScale announces each device to Ray as a "GPU", for Kunlunxin's XPUs, too.
* Every machine looks like AVX2. The AVX512 and AMX builds of vLLM's kernels have a shared-memory communicator that
  takes the place of the network whenever all ranks were given the same master port, whether they are on one host or
  not (vllm/distributed/device_communicators/cpu_communicator.py). The AVX2 build has none, so that ranks really talk
  over the network; and one build on all machines means one arithmetic. The image contains only that build.
* Its worker holds a device node open, see worker.py.
"""

from __future__ import annotations

import torch.cpu
from vllm.platforms.cpu import CpuPlatform

for _probe in ("_is_avx512_supported", "_is_avx512_bf16_supported", "_is_amx_tile_supported"):
    setattr(torch.cpu, _probe, lambda: False)


class LabPlatform(CpuPlatform):
    """vLLM's CPU platform, usable by Ray, AVX2 only, with the lab's worker."""

    ray_device_key = "GPU"

    @classmethod
    def check_and_update_config(cls, vllm_config) -> None:
        """Choose the lab's worker; refuse what starts well and then hangs."""
        parallel = vllm_config.parallel_config
        if parallel.pipeline_parallel_size > 1 and vllm_config.model_config.enforce_eager:
            # The CPU runner skips its warm-up in eager mode, which leaves the receive buffers of later pipeline
            # stages unmade; the first request then hangs without a message (vllm/v1/worker/cpu_model_runner.py).
            raise ValueError(
                "enforce_eager with pipeline_parallel_size > 1 hangs on CPU: "
                "leave enforce_eager out and set TORCHDYNAMO_DISABLE=1 and VLLM_USE_AOT_COMPILE=0 instead"
            )
        if parallel.worker_cls == "auto":
            parallel.worker_cls = "vllm_cpu_lab.worker.LabWorker"
        super().check_and_update_config(vllm_config)
