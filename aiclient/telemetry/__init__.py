"""What can be seen from outside: spans and metrics, by the OpenTelemetry API alone; access logs."""

from __future__ import annotations

from .access import JsonFormatter

__all__ = ["JsonFormatter"]
