"""The content of a report, before any format: blocks, tables, captions, sections."""
