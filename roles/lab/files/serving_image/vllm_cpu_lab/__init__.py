"""What vLLM's CPU build lacks to stand in for an accelerator in the lab: see platform.py and worker.py."""


def platform() -> str:
    """Name the platform class; vLLM asks through the entry point group ``vllm.platform_plugins``."""
    return "vllm_cpu_lab.platform.LabPlatform"
