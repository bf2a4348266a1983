"""For tests, ours and yours: series made on the spot, and what every transport has to do.

:func:`phantom` makes DICOM series of any kind, and knows what has to be read from them;
:class:`TransportContract` is a class of tests to inherit, its fixture a :class:`Place`.
"""

from __future__ import annotations

from .contract import Place, TransportContract
from .phantom import Phantom, phantom

__all__ = ["Phantom", "Place", "TransportContract", "phantom"]
