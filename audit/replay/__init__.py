"""Decision replay: every recorded decision is made again from what was recorded, and must come out the same.

`replay_store` reads a log's database, `replay_export` an export. Each returns a report or raises
`VerificationFailed`; `python -m audit.replay` is the same in a process of its own, with a limit on memory, because
a hostile policy schema could eat all there is.
"""

from audit.replay.decisions import replay
from audit.replay.source import replay_export, replay_store

__all__ = ["replay", "replay_export", "replay_store"]
