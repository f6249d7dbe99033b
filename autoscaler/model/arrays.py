"""Names for the NumPy arrays that columns are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Codes = NDArray[np.int32]
"""Numbers that stand for texts."""
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.intp]
"""Positions in a column."""
