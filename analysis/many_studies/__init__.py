"""What several studies show side by side."""
