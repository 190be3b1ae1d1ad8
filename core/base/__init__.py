"""What every package needs: errors, settings, text, time, addresses of neurons, the demo."""
