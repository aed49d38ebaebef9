"""The comparison of methods over several studies, each on its own stream."""
