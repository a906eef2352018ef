"""The journal: what has to survive, from meaning to disk and back. Opaque bytes, no sessions, no routing."""
