"""From measured scores to statements: metrics, paired inference, tables and reports."""
