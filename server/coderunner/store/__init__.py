"""The database: keys, guests' tokens, use for quotas, and the audit log.

SQLite in STATE_DIR, or PostgreSQL by DATABASE_URL. Sessions do not wait for it: what the server writes
goes through a bounded queue, and a database that is lost, locked or full is reported in `/api/ready`.
"""
