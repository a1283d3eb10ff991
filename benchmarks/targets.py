"""Accelerators that programs are compiled for, whether or not there is one."""

from collections.abc import Mapping
import os
import sys
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from medad_jax.types import UserError


class Target(NamedTuple):
  """An accelerator's kind and number.

  Attributes:
    platform: "cuda" or "tpu".
    topology: its name in XLA.
    bandwidth: of a device's memory, bytes a second.
    peaks: operations a second of a device, by precision.
    launch: seconds that a kernel takes at least, from its start to the next.
    package: what pip installs to compile for it.
  """

  platform: str
  topology: str
  bandwidth: float
  peaks: Mapping[str, float]
  launch: float
  package: str


# NVIDIA's and Google's data sheets: H100 SXM and TPU v5e. float32 products take
# CUDA cores on the former and six passes in bfloat16 on the latter. A kernel's
# microseconds are the usual ones of a captured graph, and of an instruction.
_H100 = Target(
  "cuda",
  "1x1x1",
  3.35e12,
  {"float32": 67e12, "tensorfloat32": 495e12, "bfloat16": 989e12},
  2e-6,
  "'jax[cuda12]' or 'jax[cuda13]'",
)
_V5E = Target(
  "tpu",
  "v5e:2x4",
  8.2e11,
  {"float32": 197e12 / 6, "tensorfloat32": 197e12 / 3, "bfloat16": 197e12},
  1e-6,
  "'jax[tpu]'",
)
TARGETS = {
  "h100": _H100,
  "h100x8": _H100._replace(topology="1x1x8"),
  "v5e-8": _V5E,
  "v5e-32": _V5E._replace(topology="v5e:4x8"),
}
# Of a TPU: hosts have eight chips.
_HOST = (2, 4, 1)
# What XLA asks of a GPU before it compiles for it.
_DESCRIPTION = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
  block_dim_limit_z: 65535 memory_bandwidth: 3352320000000
  l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84929347584 registers_per_core_limit: 65536
  registers_per_block_limit: 65536 cuda_compute_capability { major: 9 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 13 minor: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
# Read when jax starts: programs are chosen without a device to try them on.
ENVIRONMENT = {
  # A process that only compiles shares no chip with another one.
  "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
  "JAX_PLATFORMS": "cpu",
  "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
  "TPU_SKIP_MDS_QUERY": "1",
  "XLA_FLAGS": "--xla_gpu_autotune_level=0",
}


def devices(name: str) -> tuple[jax.Device, ...]:
  """The target's devices: to compile for, not to run on.

  Raises:
    UserError: the packages that compile for it are not installed.
  """
  target = TARGETS[name]
  more: dict[str, Any] = {
    "topology_name": target.topology,
    "chips_per_host_bounds": _HOST,
  }
  if target.platform == "cuda":
    more = {"topology": target.topology, "target_config": _DESCRIPTION}
  try:
    found = topologies.get_topology_desc(platform=target.platform, **more)
  except (RuntimeError, ValueError, NotImplementedError, OSError) as error:
    raise UserError(
      f"--target={name} cannot be compiled for here"
      f" ({str(error).splitlines()[0]}); install {target.package}."
    ) from error
  return tuple(found.devices)


def start(module: str) -> None:
  """Starts a command again in `ENVIRONMENT`, unless it is set.

  JAX reads it when it starts, which it did before this is called.
  """
  if not all(name in os.environ for name in ENVIRONMENT):
    command = [sys.executable, "-m", module, *sys.argv[1:]]
    os.execve(sys.executable, command, ENVIRONMENT | os.environ)
