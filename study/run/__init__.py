"""Running a study on Ray: everything that imports it."""
