"""Where the nodes are: sources of endpoints, and the thread that follows one for a balancer."""
