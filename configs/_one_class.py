"""The one-class protocols of Shvetsova et al. (IEEE Access 2021)."""

from medad_jax.types import UserError

CLASSES = ("cifar10", "svhn")  # sets of ten classes
RGB = (*CLASSES, "camelyon16", "camelyon16_x40")


def read(
  argument: str, protocols: tuple[str, ...], tuned: tuple[str, ...]
) -> tuple[str, str, int | None]:
  """Set, protocol and normal class of "SET/PROTOCOL/CLASS".

  Args:
    argument: the protocol may be left out, and is the first one then; a class
      belongs to the sets of `CLASSES` alone.
    protocols: that there are.
    tuned: the sets that have the protocols after the first one.

  Raises:
    UserError: there is no such protocol or class.
  """
  name, *rest = argument.split("/")
  number = rest.pop() if rest and name in CLASSES else None
  protocol = rest.pop() if rest else protocols[0]
  known = protocols if name in tuned else protocols[:1]
  if rest or protocol not in known:
    raise UserError(
      f"the configuration {argument} does not exist; {name} has"
      f" {' and '.join(known)}: give {_example(name, known[-1])}."
    )
  if name in CLASSES and number not in map(str, range(10)):
    raise UserError(
      f"{name} has the classes 0 to 9, and the configuration {argument} names"
      f" none of them; give {_example(name, protocol)}."
    )
  return name, protocol, None if number is None else int(number)


def _example(name: str, protocol: str) -> str:
  return f"{name}/{protocol}" + "/3" * (name in CLASSES)


def chest(crop: int = 224, equalize: bool = False) -> str:
  """The preparation of the chest X-rays: 64x64 of the middle of 300x300."""
  return f"gray,crop:{crop}{',equalize' * equalize},resize:64"
