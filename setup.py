"""Build of the compiled modules.

A module is compiled when a ``.pxd`` stands beside its ``.py``, or when it is a ``.pyx``. Nothing has to be listed.

``HAYPILE_TRACE=1`` builds with line tracing, so that profilers and coverage see inside the compiled code.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

PACKAGES = ("protocol", "storage", "broker")
TRACE = os.environ.get("HAYPILE_TRACE") == "1"


def compiled_sources() -> list[Path]:
    """Return the sources of all compiled modules, in a stable order."""
    sources = []
    for package in PACKAGES:
        for path in Path(package).rglob("*.py*"):
            if path.suffix == ".pyx" or (path.suffix == ".py" and path.with_suffix(".pxd").exists()):
                sources.append(path)
    return sorted(sources)


extensions = [
    Extension(
        ".".join(source.with_suffix("").parts),
        [str(source)],
        # Python's own flags ask for debugging information, which is twice as large as the code.
        extra_compile_args=["-O3", "-g0", "-fno-plt", "-Wno-unreachable-code-fallthrough"],
        define_macros=[("CYTHON_TRACE", "1")] if TRACE else [],
    )
    for source in compiled_sources()
]

setup(
    ext_modules=cythonize(
        extensions,
        nthreads=os.cpu_count() or 1,
        compiler_directives={
            "language_level": "3",
            "cdivision": True,
            "linetrace": TRACE,
        },
    )
)
