"""Looks at stored payloads without deserializing any."""
