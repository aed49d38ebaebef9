"""The learners: one file each, named as in a study file."""
