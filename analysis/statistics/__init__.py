"""Arrays in, numbers out: estimates, paired tests, power, Pareto fronts."""
