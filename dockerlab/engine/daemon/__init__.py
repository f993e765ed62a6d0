"""The engine as a process: put together, started, found again, stopped.

Knows:   the composition root (`serve`), the life of the process (`control`), its own log.
Refuses: every decision about containers; this is wiring.
"""
