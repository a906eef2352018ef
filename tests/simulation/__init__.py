"""The storage and the broker on a simulated machine, with everything that happens decided by a seed."""
