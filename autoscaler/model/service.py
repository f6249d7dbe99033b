"""Services, as far as placement reads them."""

from __future__ import annotations

import msgspec

from autoscaler.model.placement import Labels


class Service(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A Service's selector spreads its pods by default; None (no selector) selects no pod."""

    namespace: str
    name: str
    selector: Labels | None = None
