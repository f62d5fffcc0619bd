"""What is kept of experiments: documents, records, outcomes and their sums, in SQLite or PostgreSQL."""
