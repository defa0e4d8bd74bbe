"""The typed intermediate representation: values, ops, regions, workflows, and their text form."""
