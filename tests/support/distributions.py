"""Distributions that are as good as installed, for tests of extensions."""

from pathlib import Path


def install(directory: Path, group: str, source: str, **entries: str) -> dict[str, str]:
    """Put a module and what announces it into ``directory``, and return the environment in which it is found.

    ``entries`` are names of extensions and what they are in the module; underscores in a name stand for hyphens.
    """
    module = group.replace(".", "_")
    (directory / f"{module}.py").write_text(source)
    metadata = directory / f"{module}-1.5.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.5\n")
    lines = [f"{name.replace('_', '-')} = {module}:{loaded}" for name, loaded in entries.items()]
    (metadata / "entry_points.txt").write_text("\n".join((f"[{group}]", *lines, "")))
    return {"PYTHONPATH": str(directory)}
