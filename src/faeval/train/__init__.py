"""Training: the recipe, the step, the loop, and what a trial leaves behind."""
