"""Watching a training while it runs, in parts: a copy of the live weights (`weights`), the
training's state left as it was (`undisturbed`), when to measure (`due`) and whether there is time
for it (`cost`), where the records go (`cells`), and the user's own W&B run (`users_run`). `watcher`
puts them together.
"""
