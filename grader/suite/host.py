"""What this machine is and can do, to explain a measured figure."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import torch

from grader.results.model import Host
from grader.suite.pytorch_quantization import engines

# Instructions that multiply and add int8 in one step (names of torch.cpu.get_capabilities): without them int8 is slow.
INT8_DOT_PRODUCTS = ("avx512_vnni", "avx_vnni", "amx_int8", "dot", "i8mm")


def host() -> Host:
    abilities = torch.cpu.get_capabilities()
    return Host(
        cpu=_cpu_name() or str(abilities.get("cpu_name", "")) or platform.machine(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=torch.__version__,
        int8_dot_products=any(abilities.get(name, False) for name in INT8_DOT_PRODUCTS),
        quantized_engines=engines(),
    )


def _cpu_name() -> str:
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
