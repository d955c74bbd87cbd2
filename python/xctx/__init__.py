# SPDX-License-Identifier: MIT
from xctx._xctx import *
