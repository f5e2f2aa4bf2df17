"""Systems: one paper's or method's set of laws each (closed forms, dynamics, laws). No system imports another."""
