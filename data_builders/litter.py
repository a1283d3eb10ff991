"""Files that are not data: hidden ones, and those of an operating system."""

# Folders and files that network storage, Windows, macOS and Linux add.
_KNOWN = frozenset(
  {
    "#recycle",
    "$recycle.bin",
    "@eadir",
    "@recycle",
    "@tmp",
    "__macosx",
    "__pycache__",
    "desktop.ini",
    "lost+found",
    "system volume information",
    "thumbs.db",
  }
)


def is_litter(name: str) -> bool:
  """True for the name of a file, or of a whole folder, to be skipped.

  Args:
    name: one component of a path below the source. The source itself may be in
      a hidden folder, as unpacked archives are.
  """
  return name.startswith(".") or name.lower() in _KNOWN
