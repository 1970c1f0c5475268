//! Speaks to the platforms that run workloads.
