"""Reports as Markdown, HTML, LaTeX, CSV and JSON."""
