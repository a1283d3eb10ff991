"""Members on cores of their own."""

import os
import subprocess
import sys

import jax
import pytest

from medad_jax.engine import cores
from medad_jax.engine.devices import Devices

_PROGRAM = """
from medad_jax.engine import cores
cores._cores = lambda: 2
found = cores.devices({members}{more})
layouts = [found.layout(n, 8) for n in ({members}, 2, 1)]
print(*(at.mesh.devices.shape for at in layouts), sep="; ")
"""


@pytest.mark.parametrize(
  ("members", "count", "devices"),
  [
    (6, 1, 1),
    (6, 2, 3),
    (6, 4, 6),
    (6, 64, 6),
    (3, 2, 3),
    (5, 2, 1),
    (1, 9, 1),
  ],
)
def test_share_is_the_largest_of_two_a_core_that_divides(
  members, count, devices
):
  assert cores.share(members, count) == devices


@pytest.mark.parametrize(
  ("members", "more", "flags", "shapes"),
  [
    (4, "", "", "(4, 1); (2, 1); (1, 1)"),  # one core for a single member
    (3, "", "", "(3, 1); (2, 1); (1, 1)"),
    (5, "", "", "(1, 1); (1, 1); (1, 1)"),
    (4, ", member=1", "", "(1, 1); (1, 1); (1, 1)"),
    # Devices that the user made are all used.
    (
      4,
      "",
      "--xla_force_host_platform_device_count=4",
      "(4, 1); (2, 2); (1, 4)",
    ),
  ],
)
def test_cores_become_devices_before_jax_has_some(members, more, flags, shapes):
  environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
  done = subprocess.run(
    [sys.executable, "-c", _PROGRAM.format(members=members, more=more)],
    env=environment,
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.strip() == shapes


def test_devices_that_are_there_already_are_used():
  found = cores.devices(4)
  assert found == Devices(tuple(jax.devices()))
  assert found.layout(4, 8).mesh.devices.shape == (4, 2)
