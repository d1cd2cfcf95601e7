"""A reply on the screen: its Markdown read as it comes and written once, never to be touched again."""
