//! HTTP: SQL, records in, metrics, health.
