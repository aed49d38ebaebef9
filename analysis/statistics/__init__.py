"""Statistics of arrays: estimates, paired tests, power, Pareto fronts."""
