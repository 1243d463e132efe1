"""The book's own furniture, which a reader's project does not need: the recorded results that its chapters show."""
