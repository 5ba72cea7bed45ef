"""The deciding part: no I/O, no sleeping, no clock of its own. Time is a parameter."""
