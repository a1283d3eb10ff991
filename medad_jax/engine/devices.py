"""The devices of a run, and the mesh for each phase's members and batch."""

import dataclasses

import jax

from medad_jax.engine import parallel, processes
from medad_jax.types import UserError


@dataclasses.dataclass(frozen=True)
class Devices:
  """The devices of a run, and how its user wants them used.

  Every phase gets a mesh of its own from its members and its batch: the one
  that uses most devices, with as many as possible along 'member'. A size that
  the user chose is a limit for phases that it does not divide.

  Attributes:
    all: the devices.
    mode: 'jit' or 'pmap'.
    member: size of the mesh's member axis; None to choose.
    batch: size of the mesh's batch axis; None to choose.
    whole_batches: whether batches are never split, even if devices stay idle.
  """

  all: tuple[jax.Device, ...]
  mode: str = "jit"
  member: int | None = None
  batch: int | None = None
  whole_batches: bool = False

  def layout(self, members: int, batch_size: int) -> parallel.Layout:
    """The mesh for so many members and examples a step.

    In one process, devices that fit neither axis stay idle; of several
    processes each needs a device, so left-over devices are copies.
    """
    member, batch = self._sizes(members, batch_size)
    return parallel.make_layout(member, batch, self.mode, self.all)

  def check(self, members: int, batch_size: int) -> None:
    """Checks the user's choices against the phase of most members.

    Raises:
      UserError: the mode is unknown, or a chosen axis is too large or does not
        divide the members or the batch.
    """
    if self.mode not in parallel.MODES:
      raise UserError(
        f"config.parallel='{self.mode}' is none of"
        f" {', '.join(parallel.MODES)}; choose one."
      )
    if self.mode == "pmap" and processes.count() > 1:
      raise UserError(
        "config.parallel='pmap' works in one process, of which there are"
        f" {processes.count()}; set it to 'jit'."
      )
    # Only the largest phase must fit exactly; the others adapt in `_sizes`.
    _check(members, batch_size, self.member, self.batch, len(self.all))

  def _sizes(self, members: int, batch_size: int) -> tuple[int, int]:
    """Devices along 'member' and along 'batch'."""
    total = len(self.all)
    # Both are chosen: devices beyond their product stay unused, even where a
    # phase could use them.
    if self.member and self.batch:
      total = self.member * self.batch
    options = [
      (member, batch)
      # A chosen size is a limit: a phase that it does not divide takes the
      # largest divisor below it.
      for member in _divisors(members, self.member or total)
      for batch in self._batch_sizes(batch_size, total // member)
      # Of several processes none may be left without a device.
      if processes.count() == 1 or len(self.all) % (member * batch) == 0
    ]
    # Ties go to members, which do not communicate. Devices that share a batch
    # average their gradients at every step.
    return max(options, key=lambda sizes: (sizes[0] * sizes[1], sizes[0]))

  def _batch_sizes(self, batch_size: int, room: int) -> list[int]:
    if self.whole_batches:
      return [1]
    # With both axes chosen, rows that members leave free join the batch axis.
    limit = room if self.member or not self.batch else min(room, self.batch)
    return _divisors(batch_size, limit)


def _divisors(number: int, limit: int) -> list[int]:
  return [n for n in range(1, min(number, limit) + 1) if number % n == 0]


def _check(members, batch_size, member, batch, devices) -> None:
  if (member or 1) * (batch or 1) > devices:
    raise UserError(
      f"config.mesh asks for {member or 1} x {batch or 1} devices and there are"
      f" {devices}; lower config.mesh.member or config.mesh.batch."
    )
  if processes.count() > 1 and devices % ((member or 1) * (batch or 1)):
    raise UserError(
      f"a mesh of {member or 1} x {batch or 1} leaves some of {devices} devices"
      " without work, and perhaps a whole process; choose config.mesh.member"
      f" and config.mesh.batch so that their product divides {devices}."
    )
  if member and members % member:
    raise UserError(
      f"{members} members do not divide over config.mesh.member={member};"
      f" use a divisor of {members}."
    )
  if batch and batch_size % batch:
    raise UserError(
      f"train.batch_size={batch_size} does not divide over"
      f" config.mesh.batch={batch} devices; set it to a multiple of {batch}, or"
      f" config.mesh.batch to a divisor of {batch_size}."
    )
