"""The only package that speaks to Redis and Valkey."""
