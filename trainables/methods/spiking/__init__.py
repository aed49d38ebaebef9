"""Learners of recurrent spiking networks."""
