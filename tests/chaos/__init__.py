"""The acceptance table: real processes under load, one fault each, and a verdict from what they wrote down."""
