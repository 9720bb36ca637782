//! The steps of a rotation, its journal, and what a re-run does.
