"""What Alembic runs: all revisions that are missing, in the transaction that the caller has begun."""

from alembic import context

from serve.ledger.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
