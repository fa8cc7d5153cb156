"""Sources that say what leaves their stages, and cannot be run stage by stage."""

from __future__ import annotations
