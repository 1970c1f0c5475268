//! Speaks to Redis and Valkey servers: observes them, and applies one cluster step.
