"""The examples in the documents for users work as they stand there, one after the other, and print what they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.raw_client import Address

DOCUMENTS = Path(__file__).parents[2] / "docs"


@pytest.mark.haypile_only
@pytest.mark.parametrize("name", ["exchanges.md", "queues.md"])
def test_the_examples(address: Address, name: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCUMENTS / name).read_text(), re.DOTALL)
    program = "".join(blocks).replace('ConnectionParameters("localhost")', f"ConnectionParameters{address}")
    promised = re.findall(r"^print\(.*\)  # (.*)$", program, re.MULTILINE)
    assert len(promised) == len(blocks) - 1
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == promised
