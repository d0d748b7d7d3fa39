"""What attack.py tries, a file for each kind of attack.

A variant is a folder of files that follows from a number: `make` returns its files, and `attempt` raises whatever is
wrong in the folder that holds them. What the project refuses as it should is nothing wrong.
"""

Files = dict[str, bytes]
