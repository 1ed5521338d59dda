//! PostgreSQL's functions, operators, casts and aggregates, implemented once for batch queries and for views.

pub mod exact_sum;
