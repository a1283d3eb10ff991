"""Looks at this machine: devices, memory, versions, caches, weights, network.

  python -m medad_jax.doctor

Every line is `ok`, a `note` (missing, but only some need it) or `RED`, with
what to do about it. The exit status is 1 where a line is red.
"""

import sys

from medad_jax.engine import checkup, cli


def main() -> None:
  """Prints the findings as they are made."""
  red = False
  for finding in checkup.findings():
    print(finding, flush=True)
    red |= finding.serious
  if red:
    sys.exit(1)


if __name__ == "__main__":
  cli.run(main)
