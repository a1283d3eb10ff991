"""A CPU's cores as devices, for members to train side by side."""

import os

import jax

from medad_jax.engine import parallel


def make_layout(
  members: int,
  batch_size: int,
  *,
  mode: str = "jit",
  member_devices: int | None = None,
  batch_devices: int | None = None,
) -> parallel.Layout:
  """`parallel.make_layout` on all devices, where a CPU's cores are some.

  Programs side by side train members faster than one program on all cores, but
  halves of a batch on two cores are slower than a whole one on both: on a CPU
  members are spread and batches are not, unless the user says how. It must
  come before anything asks JAX for its devices; afterwards, in one of several
  processes, or where the environment sets their number, cores stay as they are.

  Args:
    members: ensemble members that train together.
    batch_size: examples of the global batch.
    mode: 'jit' or 'pmap'.
    member_devices: size of the mesh's member axis; None to choose.
    batch_devices: size of the mesh's batch axis; None to choose.

  Returns:
    A layout whose axes divide `members` and `batch_size`.

  Raises:
    UserError: the mode is unknown or the axes do not divide.
  """
  made = make_devices(members, member_devices, batch_devices)
  whole = made and jax.default_backend() == "cpu"
  return parallel.make_layout(
    members,
    batch_size,
    mode=mode,
    member_devices=member_devices,
    batch_devices=1 if whole else batch_devices,
    whole_batches=whole,
  )


def make_devices(
  members: int, member_devices: int | None, batch_devices: int | None
) -> bool:
  """Makes a CPU's devices for `make_layout`; True where it could.

  It does not where the user says how many to use, or the environment does.
  """
  chosen = member_devices is not None or batch_devices is not None
  return not chosen and _make_devices(share(members, _cores()))


def share(members: int, cores: int) -> int:
  """The most devices that members divide over, at most two a core.

  Two, so that what does not divide over the cores keeps all of them busy: three
  members on two cores as three programs take three quarters of the time that
  they take as one on both. One core is one device.
  """
  most = 2 * cores if cores > 1 else 1
  return max(n for n in range(1, most + 1) if members % n == 0)


def _make_devices(count: int) -> bool:
  """Whether that many CPU devices were made."""
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


def _cores() -> int:
  """Those that this process may use."""
  if hasattr(os, "sched_getaffinity"):  # Linux
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
