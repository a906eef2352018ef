"""What the broker publishes itself."""

from broker.hooks.internal_publish import fit_routing_key


def test_a_routing_key_is_cut_to_its_limit() -> None:
    assert fit_routing_key("deliver.q") == "deliver.q"
    assert fit_routing_key("deliver." + "q" * 255) == "deliver." + "q" * 247
    assert len(fit_routing_key("é" * 200).encode("utf-8", "surrogateescape")) == 255
