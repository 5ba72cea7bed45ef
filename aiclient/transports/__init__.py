"""The shells: they send what the core tells them to and report what they see."""
