"""A whole cluster in memory behind the same Protocols as the real one."""
