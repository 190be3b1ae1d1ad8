"""What the screen is made of. Widgets get values and paint them; they hold no scan and no model."""
