"""What runs a learner through a stream, and what it measures."""
