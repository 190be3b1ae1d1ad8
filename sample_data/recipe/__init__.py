"""How the demo model, its scenes and its descriptions were made; see README.md beside this file."""
