"""Other libraries' arrays and images: one door for each, opened when somebody asks for it."""
