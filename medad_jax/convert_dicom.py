"""Converts chest X-rays from DICOM to PNG, as the DDAD benchmarks have them.

  python -m medad_jax.convert_dicom --source=DIR --out=DIR

The code is in `data_builders/`, which an installed package has inside it.
"""

import sys

from medad_jax import shipped


def main() -> int:
  """Runs the command line of `data_builders.convert_dicom`."""
  return shipped.module("data_builders.convert_dicom").main()


if __name__ == "__main__":
  sys.exit(main())
