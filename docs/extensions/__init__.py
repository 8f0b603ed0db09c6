"""What the documentation needs of Sphinx beside what others have written for it."""
