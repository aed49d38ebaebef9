"""The learners: one file per learner, named as in a study file."""
