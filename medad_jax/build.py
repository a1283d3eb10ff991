"""Builds a data set.

  python -m medad_jax.build brain --source=DIR

The builders are in `data_builders/`, which an installed package has inside it.
"""

import sys

from medad_jax import shipped


def main() -> int:
  """Runs the command line of `data_builders.build`; returns its status."""
  return shipped.module("data_builders.build").main()


if __name__ == "__main__":
  sys.exit(main())
