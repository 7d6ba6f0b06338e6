"""The doctor: asks every server of a deployment, and says what is wrong for this queue, why, and what repairs it."""
