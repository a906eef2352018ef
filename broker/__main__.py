"""``python -m broker`` is ``haypile``."""

from broker.cli import main

main()
