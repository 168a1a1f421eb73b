"""What is measured while a run trains: means of logged scalars, validation, and diagnoses."""
