"""What there is to draw, said once: the figures (matplotlib) and the page draw exactly this.

`looks` has colours, dashes, legends and ticks; each other module one kind of picture. Whatever
names, colours, limits or orders a picture has is decided here, in numbers and words that JSON can
hold (`report.data`); a renderer only places them on its paper.
"""
