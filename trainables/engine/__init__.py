"""Running a learner through a stream, and the measurements taken on the way."""
