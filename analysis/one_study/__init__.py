"""What one study shows: comparisons and verdicts, searches, planning."""
