# SPDX-License-Identifier: MIT
import gc

import pytest


@pytest.fixture(autouse=True)
def _clean():
    """What a test leaves behind is not the next one's."""
    yield
    gc.collect()
