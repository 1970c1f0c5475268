//! Text to spec: the template format, its variables and the Go template language.
