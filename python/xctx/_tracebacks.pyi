# SPDX-License-Identifier: MIT
from typing import List, Optional, Protocol

class _Writes(Protocol):
    def write(self, text: str, /) -> object: ...

def format_exception(
    exception: Optional[BaseException] = ..., *, limit: Optional[int] = ..., chain: bool = ...
) -> List[str]: ...
def print_exception(
    exception: Optional[BaseException] = ...,
    *,
    limit: Optional[int] = ...,
    file: Optional[_Writes] = ...,
    chain: bool = ...,
) -> None: ...
