"""Renders the scans that standard input asks for; started by the builder."""

import pickle
import sys

from data_builders.phantom import scan


def main() -> None:
  """Reads (number, abnormal) pairs, writes (image, mask) PNG pairs."""
  jobs = pickle.load(sys.stdin.buffer)
  pickle.dump([scan.encode(*job) for job in jobs], sys.stdout.buffer)


if __name__ == "__main__":
  try:
    main()
  except KeyboardInterrupt:
    sys.exit(130)  # the builder says what happened
