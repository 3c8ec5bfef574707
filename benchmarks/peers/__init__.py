"""The same work in other systems. What runs in their own environments imports nothing of Rotor's."""
