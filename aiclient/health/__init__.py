"""Health checks: the threads that make them for a balancer, and what one check is."""
