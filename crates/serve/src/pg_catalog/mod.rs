//! What drivers and psql ask of `pg_catalog` and `information_schema`.
