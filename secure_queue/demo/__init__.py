"""The main job of the library on real input, and three forgeries written into Redis before the eyes of the user."""
