# SPDX-License-Identifier: MIT
from typing import Any, FrozenSet, Optional, Tuple, Union

class ThreadState:
    def __init__(self, state: Any) -> None: ...
    tid: Optional[int]
    pid: Optional[int]
    name: Optional[str]
    signal_mask: Optional[FrozenSet[int]]
    pending_signals: Optional[FrozenSet[int]]
    rounding_mode: Union[None, str, int]
    fp_exceptions: Optional[Tuple[str, ...]]
    locale: Optional[str]
    affinity: Optional[FrozenSet[int]]
    policy: Union[None, str, int]
    priority: Optional[int]
    nice: Optional[int]
    errno: Optional[int]
    cpu: Optional[int]
    time: Optional[float]
    cpu_time: Optional[float]
    stack: Optional[Tuple[int, int]]

def thread_state(snapshot: Any) -> Optional[ThreadState]: ...
def state_rows(state: ThreadState) -> Any: ...
