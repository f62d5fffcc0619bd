"""The ways from one schema to the next, for Alembic; `serve.ledger.migrating` walks them.

A change of `serve.ledger.schema` is a new module in `versions`, whose `down_revision` is the newest one's
`revision`. There is no way back: the way back is a backup.
"""
