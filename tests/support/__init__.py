"""What tests share. A test imports from here by name: `from support.command import Memwatch`."""
