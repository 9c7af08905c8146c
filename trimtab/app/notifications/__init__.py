"""What object stores, and what carries their messages, say when an object has come: one module a sender."""
