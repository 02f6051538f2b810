"""Recorded numbers beside published ones: the scoreboard, when a number is reproduced, what that costs and hides. Without torch."""
