"""The lessons: notebooks to be solved, the checks they call, and what makes handouts of solutions."""
