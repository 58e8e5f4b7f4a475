"""What all compiled loops share: how they are compiled, where they are kept, what is said of it."""
