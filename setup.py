"""Puts configs/ and data_builders/ inside the package, as medad_jax/_shipped.

In the tree they stand beside the package. At the top of site-packages, modules
of such names would shadow other people's. All else is in pyproject.toml.
"""

import setuptools

SHIPPED = ("configs", "data_builders")


def packages_of(name: str) -> list[str]:
  """A package of the tree and all those inside it."""
  return setuptools.find_packages(include=[name, f"{name}.*"])


setuptools.setup(
  packages=packages_of("medad_jax")
  + [f"medad_jax._shipped.{p}" for name in SHIPPED for p in packages_of(name)],
  package_dir={f"medad_jax._shipped.{name}": name for name in SHIPPED},
)
