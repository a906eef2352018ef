# Compiled as it stands: each connection passes through it.
