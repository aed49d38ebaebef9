"""Learners with recurrent spiking networks."""
