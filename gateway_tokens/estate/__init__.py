"""The estate and the app settings: what they may say, and what is wrong with them."""
