"""What can be seen from outside: spans, by the OpenTelemetry API alone."""
