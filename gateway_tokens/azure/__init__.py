"""Azure's services, as far as the app calls them."""
