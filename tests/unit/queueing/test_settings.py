"""Settings of queues: what many queues have in common, they have once."""

from pathlib import Path

from broker.policy import validate_policy
from broker.queueing.settings import PLAIN
from tests.support.bare_vhost import BareVirtualHost


def test_queues_with_the_same_settings_share_them(tmp_path: Path) -> None:
    bare = BareVirtualHost(tmp_path)
    limited = [bare.declare(f"limited-{number}", max_length=1000) for number in range(2)]
    assert limited[0].settings is limited[1].settings
    assert limited[0].settings.max_length == 1000
    plain = bare.declare("plain")
    assert plain.settings is PLAIN
    bare.vhost.put_policy(validate_policy("p", "^plain", {"max-length": 5}))
    bare.run()
    assert plain.settings.max_length == 5
    bare.vhost.delete_policy("p")
    bare.run()
    assert plain.settings == PLAIN
    assert bare.declare("another").settings is PLAIN
    bare.close()
