//! Being a git credential helper.
