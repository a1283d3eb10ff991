"""Files that no one means as data: hidden, or left by an operating system."""

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
  """Whether a file or folder of this name, and all below it, is no data.

  Args:
    name: one component of a path below the source; the source itself may well
      be in a hidden folder.
  """
  return name.startswith(".") or name.lower() in _KNOWN
