"""Gathers what Haypile needs to run, and nothing else, into one folder: the root file system of its image.

usage: python gather.py TARGET

It is run in the image in which Haypile was built, by the interpreter with which it was. What it takes is that
interpreter with its standard library, the virtual environment, and the shared libraries that they are linked with.
"""

import compileall
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

VIRTUAL_ENVIRONMENT = Path("/opt/haypile")
DATA_DIRECTORY = Path("/var/lib/haypile")
USER_ID = 999
LEFT_OUT = ("test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data", "config-*")
"""Parts of the standard library that no broker needs."""
LINKED = re.compile(r"(?:=> )?(/\S+) \(0x")
ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/root:/sbin/nologin\nhaypile:x:{0}:{0}::{1}:/sbin/nologin\n",
    "etc/group": "root:x:0:\nhaypile:x:{0}:\n",
    # Names of hosts are looked up in the container's /etc/hosts first.
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def main(target: Path) -> None:
    """Fill ``target``, which is not there yet."""
    target.mkdir()
    for folder in (Path("/bin"), Path("/lib"), Path("/lib64")):
        if folder.is_symlink():
            take_links(target, folder, 1)
    for tree in {str(VIRTUAL_ENVIRONMENT), sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}:
        take_tree(target, Path(tree))
    take_links(target, VIRTUAL_ENVIRONMENT / "bin" / "python")
    binaries = [Path(os.path.realpath(VIRTUAL_ENVIRONMENT / "bin" / "python"))]
    binaries += [Path("/") / path.relative_to(target) for path in target.rglob("*.so*")]
    for library in sorted({library for binary in binaries for library in linked_with(binary)}):
        take_links(target, library)
    # Where the loader looks for them is a matter of the image that they come from.
    for path in (Path("/etc/ld.so.conf"), *Path("/etc/ld.so.conf.d").glob("*")):
        take_links(target, path)
    subprocess.run(["ldconfig", "-r", str(target)], check=True)
    for path in binaries[1:]:
        subprocess.run(["strip", "--strip-unneeded", str(target / path.relative_to("/"))], check=True)
    # The interpreter could not write the compiled form of what it imports.
    compileall.compile_dir(target, quiet=1, stripdir=str(target), prependdir="/")
    for name, text in ACCOUNTS.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(USER_ID, DATA_DIRECTORY))
    data = target / DATA_DIRECTORY.relative_to("/")
    data.mkdir(parents=True)
    os.chown(data, USER_ID, USER_ID)
    (target / "tmp").mkdir()
    (target / "tmp").chmod(0o1777)


def take_tree(target: Path, tree: Path) -> None:
    """Take a folder, without what nobody needs."""
    ignored = shutil.ignore_patterns("__pycache__", "site-packages", "dist-packages", *LEFT_OUT)
    if tree == VIRTUAL_ENVIRONMENT:
        ignored = shutil.ignore_patterns("__pycache__", "[Aa]ctivate*")
    destination = target / tree.relative_to("/")
    shutil.copytree(tree, destination, symlinks=True, ignore=ignored, dirs_exist_ok=True)


def take_links(target: Path, path: Path, count: int | None = None) -> None:
    """Take a file under each of the names by which it is reached, links as links, or only under the first ``count``."""
    for step in islice(links_to(path), count):
        destination = target / step.relative_to("/")
        destination.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(destination):
            shutil.copy2(step, destination, follow_symlinks=False)


def links_to(path: Path) -> Iterator[Path]:
    """Yield a path, what it links to, and so on. Folders that are links count as what they link to."""
    while True:
        yield path.parent.resolve() / path.name
        if not path.is_symlink():
            return
        path = path.parent / path.readlink()


def linked_with(binary: Path) -> list[Path]:
    """Return the shared libraries that the loader would load for a binary, the loader among them."""
    listing = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False).stdout
    return [Path(found) for found in LINKED.findall(listing)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
