"""Beam's resource hints on transforms."""

from __future__ import annotations

from collections.abc import Mapping

import apache_beam as beam


def with_hints(transform: beam.PTransform, hints: Mapping[str, str] | None) -> beam.PTransform:
    """Returns a transform whose workers are to have something; all that it is made of inherits that.

    Runners never fuse transforms with different hints.

    >>> hinted = with_hints(beam.Map(str), {"accelerator": "type:nvidia-l4;count:1;install-nvidia-driver"})
    >>> hinted.get_resource_hints()
    {'beam:resources:accelerator:v1': b'type:nvidia-l4;count:1;install-nvidia-driver'}

    Args:
        transform: The transform; it is changed.
        hints: By the names that Beam has for them. Values are texts, also numbers.
    """
    return transform.with_resource_hints(**hints) if hints else transform
