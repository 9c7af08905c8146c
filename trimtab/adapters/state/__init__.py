"""
One model's state in the state bucket, as the processes and the pipeline's steps see it.

>>> from datetime import UTC, datetime
>>> from trimtab.adapters.memory import MemoryBuckets
>>> state = State.open(MemoryBuckets(), "s3://state/default", "flights")
>>> state.registry.manifest() is None
True
>>> entry = state.journal.tell("wait/1", "waiting", "waits for 5000 rows", {}, datetime(2012, 1, 1, tzinfo=UTC))
>>> [told.summary for told in state.journal.entries()]
['waits for 5000 rows']
"""

from trimtab.adapters.state.state import State as State
