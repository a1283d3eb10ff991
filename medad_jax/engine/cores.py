"""A CPU's cores as devices, for members to train side by side."""

import os

import jax

from medad_jax.engine.devices import Devices


def devices(
  members: int,
  *,
  mode: str = "jit",
  member: int | None = None,
  batch: int | None = None,
) -> Devices:
  """All devices of this machine, a CPU's cores among them where that helps.

  Programs side by side train members faster than one program on all cores, but
  halves of a batch on two cores are slower than a whole one on both: on a CPU
  members are spread and batches are not, unless the user says how.

  Args:
    members: the most that train together.
    mode: 'jit' or 'pmap'.
    member: size of the mesh's member axis; None to choose.
    batch: size of the mesh's batch axis; None to choose.
  """
  chosen = member is not None or batch is not None
  # Before `jax.devices()` below, which fixes the number of CPU devices.
  split = not chosen and _split_cpu(share(members, usable()))
  return Devices(
    tuple(jax.devices()),
    mode,
    member,
    batch,
    # Beside an accelerator the CPU's devices are not the ones used.
    whole_batches=split and jax.default_backend() == "cpu",
  )


def share(members: int, cores: int) -> int:
  """The most devices that members divide over, at most two a core.

  Two, so that what does not divide over the cores keeps all of them busy: three
  members on two cores as three programs take three quarters of the time that
  they take as one on both. One core is one device.
  """
  most = 2 * cores if cores > 1 else 1
  return max(n for n in range(1, most + 1) if members % n == 0)


def _split_cpu(count: int) -> bool:
  """True if that many CPU devices were made.

  It must come before anything asks JAX for its devices. Afterwards, in one of
  several processes, or where the environment sets their number, they stay.
  """
  flags = os.environ.get("XLA_FLAGS", "")
  if (
    "JAX_NUM_CPU_DEVICES" in os.environ
    or "xla_force_host_platform_device_count" in flags
    or jax.distributed.is_initialized()
  ):
    return False
  try:
    jax.config.update("jax_num_cpu_devices", count)
  except RuntimeError:  # the devices are there already
    return False
  return True


def usable() -> int:
  """Number of cores that this process may use."""
  # Containers and schedulers may grant fewer cores than there are.
  if hasattr(os, "sched_getaffinity"):  # Linux
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
