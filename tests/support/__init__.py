"""What tests share: a broker as a process, and a client that can misbehave."""

import pytest

pytest.register_assert_rewrite("tests.support.raw_client", "tests.support.broker_process")
