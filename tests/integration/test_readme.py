"""The README's program works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.raw_client import Address

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.haypile_only
def test_the_program(address: Address) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    elsewhere = program.replace('ConnectionParameters("localhost")', f"ConnectionParameters{address}")
    assert elsewhere != program
    ended = subprocess.run([sys.executable, "-c", elsewhere], capture_output=True, text=True, timeout=30)
    assert (ended.stdout, ended.stderr) == ("b'a blade'\n", "")
