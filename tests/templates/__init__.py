"""The starter templates, as a user gets them."""
