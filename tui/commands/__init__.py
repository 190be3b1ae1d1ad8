"""One file for each command, or for each small family of them. None imports torch, none imports the screen early."""
