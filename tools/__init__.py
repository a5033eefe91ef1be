"""What developers run: never deployed."""
