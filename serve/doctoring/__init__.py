"""What `attnserve doctor` looks at, by topic; `serve.doctor` has the table of all checks."""
