"""What an answer is: where it is found in a reply, when two are equal, and how it is graded."""
