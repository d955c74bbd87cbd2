# SPDX-License-Identifier: MIT
import concurrent.futures
import contextvars
import threading
from typing import Any, Callable, Iterable, Mapping, Optional, Tuple, TypeVar, Union

from xctx import Context

_C = TypeVar("_C", bound=Callable[..., Any])
_AnyContext = Union[Context, contextvars.Context]

def bind(function: _C, /, *, context: Optional[_AnyContext] = ...) -> _C: ...

class Thread(threading.Thread):
    def __init__(
        self,
        group: None = ...,
        target: Optional[Callable[..., object]] = ...,
        name: Optional[str] = ...,
        args: Iterable[Any] = ...,
        kwargs: Optional[Mapping[str, Any]] = ...,
        *,
        daemon: Optional[bool] = ...,
        context: Optional[_AnyContext] = ...,
    ) -> None: ...

class ThreadPoolExecutor(concurrent.futures.ThreadPoolExecutor):
    def __init__(
        self,
        max_workers: Optional[int] = ...,
        thread_name_prefix: str = ...,
        initializer: Optional[Callable[..., object]] = ...,
        initargs: Tuple[Any, ...] = ...,
    ) -> None: ...
