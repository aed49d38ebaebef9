"""What a report says, before any format: blocks, tables, captions, sections."""
