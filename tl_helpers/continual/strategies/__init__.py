"""The strategies, one short file each. A new one: subclass `Strategy` in a file of its own, and name it in `continual`."""
