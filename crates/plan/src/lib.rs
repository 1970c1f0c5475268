//! Spec and view to plan: what must be done, decided without doing any of it.
