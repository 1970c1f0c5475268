//! The driver: observe, plan, execute, and again until there is nothing left to do.
